"""A layer's input kept without padding, in memory or on disk; and texts packed side by side, each seeing only itself."""

import dataclasses
import errno
import os

import pytest
import torch

from conftest import FACTS
from onemask.io.errors import OnemaskError
from onemask.model import forward
from onemask.model.edits import product
from onemask.model.forward import ends, finish_at, logits_at, run_to
from onemask.model.input_cache import cache_layer_inputs
from onemask.model.packing import Packed, pack
from onemask.model.tokens import encode, pad
from test_algebra import LAYER, plain_logits

CPU = torch.device("cpu")


def some_lengths(count: int, seed: int = 0) -> list[int]:
    return torch.randint(1, 40, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def some_texts(lengths: list[int]) -> list[list[int]]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randint(1, 300, (length,), generator=generator).tolist() for length in lengths]


def valid(at_layer, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(part[row, : int(at_layer.lengths[row])] for part in (at_layer.keys, at_layer.base))


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("rows", [[0, 1, 2, 3, 4, 5], [4, 1], [3], [2, 2, 0]])
def test_kept_texts_are_those_cut_in_a_padded_batch(model, tmp_path, mapped, rows):
    ids = [encode(model.tokenizer, fact["prompt"].replace("{}", fact["subject"])) for fact in FACTS] + some_texts([1, 30])
    file = tmp_path / "new folder" / "cache" if mapped else None
    store = cache_layer_inputs(model, LAYER, ids, 0 if mapped else 8000, file)
    found, expected = store[torch.tensor(rows)], run_to(model, LAYER, pad([ids[i] for i in rows]))
    assert found.layer == LAYER and found.lengths.tolist() == expected.lengths.tolist()
    assert found.keys.shape == expected.keys.shape and found.base.shape == expected.base.shape
    for row in range(len(rows)):
        for one, other in zip(valid(found, row), valid(expected, row), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert file is None or not list(file.parent.iterdir())


@pytest.mark.parametrize("model", ["gpt2"], indirect=True)
def test_memory_and_disk_hold_the_same_bits_and_are_chosen_by_the_limit(model, tmp_path, caplog):
    caplog.set_level("INFO")
    ids = some_texts(some_lengths(100))
    megabytes = sum(map(len, ids)) * (model.d_mlp + model.d_model) * 8 / 1e6
    assert 1 < megabytes < 2
    memory = cache_layer_inputs(model, LAYER, ids, 2, tmp_path / "cache")
    assert "in memory" in caplog.text and "on disk" not in caplog.text
    disk = cache_layer_inputs(model, LAYER, ids, 1, tmp_path / "cache")
    assert "on disk" in caplog.text
    assert torch.equal(memory.keys, disk.keys) and torch.equal(memory.base, disk.base)


@pytest.mark.parametrize("model", ["gpt2"], indirect=True)
def test_a_full_disk_is_said_with_what_it_needs(model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    ids = some_texts([40] * 200)
    needed = f"{200 * 40 * model.d_mlp * 8 / 1e6:.0f} MB"
    with pytest.raises(OnemaskError, match=f"expected {needed} for .*cache.keys; found No space left.*cache_mb"):
        cache_layer_inputs(model, LAYER, ids, 0, tmp_path / "cache")
    assert not list(tmp_path.iterdir())


LENGTHS = {
    "one": [7],
    "one token": [1],
    "equal": [16] * 24,
    "many": some_lengths(60),
    "one long": [60, 1, 1, 2],
    "short": [1] * 300,
}
each_lengths = pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS.keys())


@each_lengths
def test_every_token_is_packed_once_and_sees_its_own_text_up_to_itself(lengths):
    length = max(lengths) + 2
    packed = pack(lengths, length, CPU)
    places = [packed.place[i, :count].tolist() for i, count in enumerate(lengths)]
    taken = sum(places, [])
    assert len(set(taken)) == len(taken) == sum(lengths)
    width, size = packed.source.shape[1], packed.source.numel()
    assert packed.place.shape == (len(lengths), length) and int(packed.place.max()) < size
    visible = torch.zeros(size, size, dtype=torch.bool)
    for row, seen in enumerate(packed.mask[:, 0]):
        visible[row * width : (row + 1) * width, row * width : (row + 1) * width] = seen
    for i, own in enumerate(places):
        assert packed.source.flatten()[own].tolist() == [i * length + n for n in range(lengths[i])]
        assert packed.positions.flatten()[own].tolist() == list(range(lengths[i]))
        for n, place in enumerate(own):
            assert visible[place].nonzero()[:, 0].tolist() == own[: n + 1]


def test_packing_leaves_little_room_empty():
    """Padding the same texts to one length would take twice their tokens."""
    lengths = LENGTHS["many"]
    assert pack(lengths, max(lengths), CPU).source.numel() < 1.15 * sum(lengths)
    assert len(lengths) * max(lengths) > 1.6 * sum(lengths)


def stream_logits(model, ids: list[list[int]]) -> torch.Tensor:
    """Logits at every text's last token, through the packed second half, (texts, vocabulary)."""
    at_layer = run_to(model, LAYER, pad(ids))
    return logits_at(model, finish_at(model, at_layer, product(at_layer.keys, model.weight(LAYER)), *ends(at_layer.lengths)))


@each_lengths
def test_packed_texts_are_each_text_alone(model, lengths):
    ids = some_texts(lengths)
    expected = torch.stack([plain_logits(model, text)[-1] for text in ids])
    torch.testing.assert_close(stream_logits(model, ids), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("broken", ["mask", "positions"])
def test_texts_that_see_each_other_are_seen(model, monkeypatch, broken):
    """The negative control: with a mask that is only causal, or positions that run on, packed texts are not the texts alone.

    Positions behind the embedding matter to rotary ones only.
    """

    def pack_wrongly(lengths, length, device) -> Packed:
        packed = pack(lengths, length, device)
        width = packed.source.shape[1]
        if broken == "mask":
            causal = torch.ones(width, width, dtype=torch.bool).tril()
            return dataclasses.replace(packed, mask=causal.expand_as(packed.mask))
        # stretched, not shifted: rotary embeddings see differences of positions only
        return dataclasses.replace(packed, positions=2 * packed.positions)

    ids = some_texts(LENGTHS["many"])
    right = stream_logits(model, ids)
    monkeypatch.setattr(forward, "pack", pack_wrongly)
    matters = broken == "mask" or model.rotary is not None
    assert torch.allclose(stream_logits(model, ids), right, rtol=1e-3, atol=1e-3) != matters
