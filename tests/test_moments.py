"""Second moments for a user's edits: of the text that was given, fit to be used, found wherever they lie."""

import pytest
import torch

from conftest import random_network
from onemask.commands.moments import read_or_measure_moments
from onemask.editors.second_moment import SecondMoment, judge, measure, text_digest, write_second_moments
from onemask.io.errors import OnemaskError
from onemask.model.models import Model

VARIED = " ".join(f"{word} {number}" for number in range(400) for word in ("Kyoto lies in", "Victor Hugo", "so it is", "17,"))
OTHER = VARIED[::-1]


@pytest.fixture(scope="module")
def gpt2(tokenizer) -> Model:
    return Model(random_network("gpt2"), tokenizer, "gpt2", {"sha256": "1"})


def test_one_that_is_missing_is_measured_and_read_again(gpt2, tmp_path):
    (first,) = read_or_measure_moments(gpt2, [1], tmp_path, VARIED).values()
    for corpus in (VARIED, None):
        (again,) = read_or_measure_moments(gpt2, [1], tmp_path, corpus).values()
        assert torch.equal(first.matrix, again.matrix) and again.text == first.text
    assert [path.name for path in tmp_path.iterdir()] == ["1.safetensors"]


def test_that_of_another_text_does_not_serve_a_text_that_was_given(gpt2, tmp_path):
    read_or_measure_moments(gpt2, [1], tmp_path, VARIED)
    with pytest.raises(OnemaskError, match=r"text --corpus in .*1.safetensors; found one of another text. Leave out --corpus"):
        read_or_measure_moments(gpt2, [1], tmp_path, OTHER)


def test_a_uniform_text_is_refused_and_leaves_no_file(tokenizer, tmp_path):
    """It makes as many keys as there are positions, and neurons are more."""
    wide = Model(random_network("gpt2", n_inner=256), tokenizer, "gpt2", {"sha256": "1"})
    with pytest.raises(OnemaskError, match=r"full rank; found \d+ of 256 eigenvalues below 1e-06 of the largest.*more varied"):
        read_or_measure_moments(wide, [1], tmp_path, "so so so so " * 500)
    assert not list(tmp_path.iterdir())
    read_or_measure_moments(wide, [1], tmp_path, VARIED)


def test_a_layer_is_found_in_whichever_file_holds_it(gpt2, tmp_path):
    rows = torch.randint(4000, (40, 16), generator=torch.Generator().manual_seed(1))
    measured = measure(gpt2, [0, 1, 2], rows, 1000)
    write_second_moments(tmp_path / "0-1.safetensors", {at: measured[at] for at in (0, 1)}, {"model": gpt2.info})
    write_second_moments(tmp_path / "2.safetensors", {2: measured[2]}, {"model": gpt2.info})
    found = read_or_measure_moments(gpt2, [1, 2], tmp_path, None)
    assert all(torch.equal(found[layer].matrix, measured[layer].matrix) for layer in (1, 2))
    with pytest.raises(OnemaskError, match=r"second moments of layers \[3\]; found none in"):
        read_or_measure_moments(gpt2, [1, 3], tmp_path, None)


def test_a_neuron_that_is_never_active_is_named(tokenizer, tmp_path):
    """More text would not help. It is said of a file that is read as well, whatever method takes it."""
    network = random_network("gpt2")
    mlp = network.transformer.h[1].mlp.c_fc
    with torch.no_grad():
        mlp.weight[:, 5], mlp.bias[5] = 0, 0
    model = Model(network, tokenizer, "gpt2", {"sha256": "2"})
    message = "48 active neurons in layer 1; found 1 never active: 5. More text does not help"
    with pytest.raises(OnemaskError, match=message):
        read_or_measure_moments(model, [1], tmp_path, VARIED)
    assert not list(tmp_path.iterdir())


def test_text_is_told_apart_by_its_tokens():
    ids = torch.arange(12).view(3, 4)
    assert text_digest(ids) == text_digest(ids.clone()) != text_digest(ids.flip(0))


@pytest.mark.parametrize("small, fits", [(0, True), (10, True), (11, False)])
def test_a_tenth_of_small_eigenvalues_may_be(small, fits):
    values = torch.ones(100)
    values[:small] = 1e-8
    basis, _ = torch.linalg.qr(torch.randn(100, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    moment = SecondMoment(3, ((basis * values) @ basis.T).float(), 1000)
    if fits:
        judge(moment)
    else:
        with pytest.raises(OnemaskError, match="11 of 100 eigenvalues"):
            judge(moment)
