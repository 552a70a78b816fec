"""The algebra on random models of all three families: every shortcut equals the long way, and every change is undone."""

import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import FACTS, TEMPLATES, random_network
from onemask.io.batching import Work
from onemask.io.errors import OnemaskError
from onemask.io.placeholder import fill
from onemask.measuring.mechanism import decomposition
from onemask.measuring.states import State
from onemask.model.edits import FactoredEdits, LayerEdits, edited_layer, masked_weight, product
from onemask.model.forward import finish, finish_at, logits_at, run_to
from onemask.model.models import Model
from onemask.model.scoring import probe, score
from onemask.model.tokens import encode, encode_with_subject, pad
from tiny_model import object_ids

LAYER = 1
FRAME = pd.DataFrame(FACTS)


def some_edits(model) -> FactoredEdits:
    generator = torch.Generator().manual_seed(3)
    u, r = (torch.randn(len(FACTS), size, generator=generator).double() for size in (model.d_mlp, model.d_model))
    return FactoredEdits(LAYER, (u / u.norm(dim=1, keepdim=True))[:, None], r[:, None])


def some_mask(model) -> torch.Tensor:
    return torch.rand(model.d_model, model.d_mlp, generator=torch.Generator().manual_seed(4)) > 0.3


def texts(model):
    return [encode(model.tokenizer, fill(fact["prompt"], fact["subject"])) for fact in FACTS]


def plain_logits(model, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.network(torch.tensor([ids])).logits[0]


class DenseWeight:
    """Within the block, W of a layer is another matrix (d_model, d_mlp)."""

    def __init__(self, model, layer, matrix):
        self.weight, self.matrix = model.weight(layer), matrix

    def __enter__(self):
        self.saved = self.weight.clone()
        self.weight.copy_(self.matrix)

    def __exit__(self, *_):
        self.weight.copy_(self.saved)


def test_two_halves_make_the_model(model):
    tokens = pad(texts(model))
    at_layer = run_to(model, LAYER, tokens)
    logits = logits_at(model, finish(model, at_layer, product(at_layer.keys, model.weight(LAYER))))
    for row, ids in enumerate(texts(model)):
        torch.testing.assert_close(logits[row, : len(ids)], plain_logits(model, ids), rtol=1e-9, atol=1e-9)


def test_what_is_read_of_the_second_half_is_what_the_whole_of_it_has(model):
    """Its values and their gradient, and the last MLP runs on those tokens alone, each once."""
    at_layer, seen = run_to(model, LAYER, pad(texts(model))), []
    read, at = torch.tensor([0, 0, 2, 2]), torch.tensor([1, 3, 2, 2])
    whole, part = (product(at_layer.keys, model.weight(LAYER)).requires_grad_() for _ in range(2))
    expected = finish(model, at_layer, whole)[read, at]
    hook = model.matrix(model.n_layers - 1).register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[0]))
    found = finish_at(model, at_layer, part, read, at)
    hook.remove()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(part.grad, whole.grad, rtol=1e-9, atol=1e-9)
    assert seen == [3]


class Calls(TorchDispatchMode):
    """Within the block: name, type and number of elements of every call on a tensor."""

    def __init__(self):
        super().__init__()
        self.made = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if args and isinstance(args[0], torch.Tensor):
            self.made.add((function.overloadpacket.__name__, args[0].dtype, args[0].numel()))
        return function(*args, **(kwargs or {}))


def test_a_model_calls_mkls_functions_before_several_threads_can(tokenizer):
    """Else one process in ten has other bytes, too few to be found by starting some."""
    network = random_network("gpt2")
    with Calls() as calls:
        Model(network, tokenizer, "gpt2")
    assert {(name, dtype, 1) for name in ("tanh", "exp", "sqrt") for dtype in (torch.float32, torch.float64)} <= calls.made


@pytest.mark.parametrize("masked", [False, True])
def test_factored_and_dense_edits_agree(model, masked):
    edits, keep = some_edits(model), some_mask(model) if masked else None
    scores = score(model, probe(model, LAYER, FRAME), edits, keep)
    for i, fact in enumerate(FACTS):
        dense = model.weight(LAYER) + edits.dense(i)
        with DenseWeight(model, LAYER, dense * keep if masked else dense):
            prompt = texts(model)[i]
            for found, name in ((scores.logp_true, "target_true"), (scores.logp_new, "target_new")):
                target = object_ids(model.tokenizer, fact[name])
                log_probs = plain_logits(model, prompt + target).log_softmax(-1)[len(prompt) - 1 :]
                expected = sum(float(log_probs[n, token]) for n, token in enumerate(target))
                assert float(found[i]) == pytest.approx(expected, abs=1e-4)
            assert int(scores.log_probs[i].argmax()) == int(plain_logits(model, prompt)[-1].argmax())


def test_edited_layer_gives_each_row_its_own_edit_and_leaves_no_trace(model):
    edits, tokens = some_edits(model), pad(texts(model))
    attention = torch.arange(tokens.ids.shape[1])[None] < tokens.lengths[:, None]
    with torch.no_grad():
        before = model.network(tokens.ids, attention_mask=attention.long()).logits
        with edited_layer(model, LAYER, edits, some_mask(model)):
            batch = model.network(tokens.ids, attention_mask=attention.long()).logits
        after = model.network(tokens.ids, attention_mask=attention.long()).logits
    assert torch.equal(before, after)
    for i, ids in enumerate(texts(model)):
        with DenseWeight(model, LAYER, (model.weight(LAYER) + edits.dense(i)) * some_mask(model)):
            torch.testing.assert_close(batch[i, len(ids) - 1], plain_logits(model, ids)[-1], rtol=1e-9, atol=1e-9)


def test_masked_weight_is_undone_even_after_an_error(model):
    before = model.weight(LAYER).clone()
    with pytest.raises(RuntimeError), masked_weight(model, LAYER, some_mask(model)):
        assert not torch.equal(model.weight(LAYER), before)
        raise RuntimeError
    assert torch.equal(model.weight(LAYER), before)


@pytest.mark.parametrize("edited", [False, True])
def test_contributions_sum_to_the_logit(model, edited):
    edits, keep = some_edits(model), some_mask(model)
    state = State("state", edits, keep) if edited else State("state")
    parts = decomposition.measure(model, FRAME, LayerEdits(edits), [state], Work(60))
    sums = parts.groupby(["case_id", "token"])["exact"].sum()
    for i, fact in enumerate(FACTS):
        weight = model.weight(LAYER).clone()
        with DenseWeight(model, LAYER, (weight + edits.dense(i)) * keep if edited else weight):
            logits = plain_logits(model, texts(model)[i])[-1]
        for token, name in (("true", "target_true"), ("new", "target_new")):
            first = object_ids(model.tokenizer, fact[name])[0]
            assert sums[i, token] == pytest.approx(float(logits[first]), rel=1e-4, abs=1e-4)


def test_unfolded_contributions_do_not_sum_to_the_logit(model):
    """The negative control: without the final norm the parts miss the logit, so the test above can fail."""
    parts = decomposition.measure(model, FRAME, LayerEdits(some_edits(model)), [State("state")], Work(60))
    exact, unfolded = (parts.groupby(["case_id", "token"])[form].sum() for form in ("exact", "unfolded"))
    assert (exact - unfolded).abs().max() > 0.01


def test_subject_position_is_the_last_token_of_the_subject(model):
    for fact in FACTS:
        for template in TEMPLATES:
            ids, position = encode_with_subject(model.tokenizer, fact["prompt"], fact["subject"], template)
            text = model.tokenizer.decode(ids[: position + 1])
            assert text.endswith(fact["subject"])


@pytest.mark.parametrize("prompt", ["no place for it", "{} and {}"])
def test_a_prompt_needs_one_place_for_its_subject(model, prompt):
    with pytest.raises(OnemaskError, match="exactly once"):
        encode_with_subject(model.tokenizer, prompt, "Lyon")


def test_a_layer_out_of_range_is_refused(model):
    with pytest.raises(OnemaskError, match="layer in 0..3"):
        model.matrix(4)
