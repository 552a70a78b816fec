"""Every editor against its paper's equation, on random models of all three families."""

import dataclasses
import math

import pytest
import torch

import dense_editors
from conftest import FACTS, TEMPLATES
from onemask.editors import alphaedit, emmet, ft_l, memit, r_rome, rome
from onemask.editors.base import Task
from onemask.editors.delta import optimise
from onemask.editors.second_moment import SecondMoment
from onemask.io.errors import OnemaskError
from onemask.io.placeholder import fill
from onemask.model.edits import FactoredEdits, applied
from onemask.model.tokens import encode, encode_with_subject
from tiny_model import object_ids

OPTIMISATION = {
    "steps": 6, "lr": 0.5, "weight_decay": 1e-3, "kl_factor": 0.0625, "clamp_norm_factor": 4, "loss_threshold": 0.05,
    "precision": "float32", "edit_batch_tokens": 10_000,
}  # fmt: skip
ROME = rome.Settings(layer=1, mom2_adjustment=False, **OPTIMISATION)
MEMIT = memit.Settings(layers=[0, 2], mom2_update_weight=10.0, **OPTIMISATION)


def some_moment(model, layer: int, rank: int | None = None) -> SecondMoment:
    """A second moment of random keys; with `rank`, of a null space beside it."""
    keys = torch.randn(4 * model.d_mlp, model.d_mlp, generator=torch.Generator().manual_seed(layer), dtype=torch.float64)
    if rank is not None:
        basis = torch.linalg.qr(keys[: model.d_mlp].T)[0][:, :rank]
        keys = keys @ basis @ basis.T
    return SecondMoment(layer, keys.T @ keys / len(keys), len(keys))


def task(model, facts=FACTS, layers=(0, 1, 2), rank=None) -> Task:
    return Task(model, facts, TEMPLATES, {layer: some_moment(model, layer, rank) for layer in layers})


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def all_keys(model, layer: int) -> torch.Tensor:
    """Mean keys (d_mlp, facts), the bare prompt weighing one half."""
    found = torch.stack([dense_editors.keys(model, fact, TEMPLATES, layer) for fact in FACTS])
    return ((found[:, 0] + found[:, 1:].mean(1)) / 2).T


@pytest.mark.parametrize("adjusted", [False, True])
@pytest.mark.parametrize("budget", [1, 10_000])
def test_rome_equals_the_plain_implementation(model, budget, adjusted):
    settings = dataclasses.replace(ROME, edit_batch_tokens=budget, mom2_adjustment=adjusted)
    result = rome.edit(task(model), settings)
    moment = some_moment(model, 1).matrix if adjusted else None
    for i, fact in enumerate(FACTS):
        u, r, trace = dense_editors.rome(model, fact, TEMPLATES, settings, moment)
        assert relative(result.layers[0].dense(i), torch.outer(r, u)) < 1e-9
        assert result.trace[i, : len(trace)].tolist() == pytest.approx(trace, rel=1e-9)


def test_memit_equals_the_plain_implementation(model):
    before = [model.weight(layer).clone() for layer in range(model.n_layers)]
    result = memit.edit(task(model), MEMIT)
    assert all(torch.equal(model.weight(layer), weight) for layer, weight in enumerate(before))
    expected = dense_editors.memit(model, FACTS, TEMPLATES, MEMIT, {layer: some_moment(model, layer).matrix for layer in (0, 2)})
    for part in result.layers:
        assert relative(part.sum(), expected[part.layer]) < 1e-9


def test_stopped_edits_do_not_touch_their_batch_mates(model):
    """Thresholds that stop some facts early: each result is that of the fact alone."""
    first = rome.edit(task(model), ROME).trace[:, 1].tolist()
    settings = dataclasses.replace(ROME, loss_threshold=sorted(first)[1] + 1e-6)
    together = rome.edit(task(model), settings)
    assert len(set(together.steps.tolist())) > 1
    for i, fact in enumerate(FACTS):
        alone = rome.edit(task(model, [fact]), settings)
        assert int(alone.steps[0]) == int(together.steps[i])
        torch.testing.assert_close(alone.layers[0].dense(0), together.layers[0].dense(i), rtol=1e-9, atol=1e-12)


def test_rome_sends_the_bare_key_to_the_wanted_value(model):
    """W_hat k* = m + delta exactly: the constraint that defines the rank-one update."""
    result = rome.edit(task(model), ROME)
    for i, fact in enumerate(FACTS):
        moved = result.layers[0].dense(i).double() @ dense_editors.keys(model, fact, TEMPLATES[:1], 1)[0]
        assert float(moved.norm()) == pytest.approx(float(result.delta_norm[i]), rel=1e-9)


def test_r_rome_sends_the_mean_key_to_the_wanted_value(model):
    """Equation of r-ROME: (W + r u^T) k = v* for the mean key k, where ROME's holds for the bare prompt's key alone."""
    found, other = r_rome.edit(task(model), ROME), rome.edit(task(model), ROME)
    for i, fact in enumerate(FACTS):
        delta, _ = dense_editors.optimise(model, fact, TEMPLATES, ROME, 1, "value")
        keys = dense_editors.keys(model, fact, TEMPLATES, 1)
        wanted = model.weight(1) @ keys[0] + delta
        reached = (model.weight(1) + found.layers[0].dense(i).double()) @ keys.mean(0)
        assert relative(reached, wanted) < 1e-9
        assert relative((model.weight(1) + other.layers[0].dense(i).double()) @ keys.mean(0), wanted) > 1e-2


def test_emmet_holds_its_constraint_exactly(model):
    """(W + dW) K = W K + T for every fact when nothing is added to the inner matrix; MEMIT only approaches it."""
    settings = emmet.Settings(layers=[1], mom2_update_weight=3.0, emmet_lambda=0.0, **OPTIMISATION)
    (found,) = emmet.edit(task(model), settings).layers
    keys, residuals = all_keys(model, 1), found.r[:, 0].T.double()
    assert relative(found.sum().double() @ keys, residuals) < 1e-9
    softer = memit.Settings(layers=[1], mom2_update_weight=3.0, **OPTIMISATION)
    (other,) = memit.edit(task(model), softer).layers
    assert relative(other.sum().double() @ keys, other.r[:, 0].T.double()) > 0.05


def test_emmet_is_rome_with_adjustment_for_one_fact_and_one_key(model):
    """For one fact, A = C^-1 k / (k^T C^-1 k): ROME's u over k . u."""
    moment = some_moment(model, 1)
    key = torch.randn(model.d_mlp, 1, dtype=torch.float64)
    found = emmet.constrained_keys(key, moment, 7.0, 0.1)
    u = rome.direction(key.T, moment).double()
    torch.testing.assert_close(found.T, u / (u @ key), rtol=1e-5, atol=1e-7)


def test_memits_solution_minimises_its_objective(model):
    """A is the stationary point of lambda tr(D C D^T) + |D K - T|^2 at D = T A^T, and Woodbury's form equals the plain one."""
    moment, keys = some_moment(model, 1), all_keys(model, 1)
    adjusted = memit.adjusted_keys(keys, moment, 10.0)
    plain = torch.linalg.solve(10.0 * moment.matrix + keys @ keys.T, keys)
    torch.testing.assert_close(adjusted, plain, rtol=1e-8, atol=1e-12)
    residual = torch.randn(model.d_model, len(FACTS), dtype=torch.float64)
    update = (residual @ adjusted.T).requires_grad_()
    (10.0 * (update @ moment.matrix * update).sum() + (update @ keys - residual).square().sum()).backward()
    assert float(update.grad.abs().max()) < 1e-8


def test_alphaedit_changes_nothing_outside_the_null_space(model):
    """Keys that span C keep their values; and within the null space the update is the paper's equation."""
    given = task(model, rank=20)
    settings = alphaedit.Settings(layers=[1], null_space_threshold=1e-6, l2=1.0, **OPTIMISATION)
    (found,) = alphaedit.edit(given, settings).layers
    preserved, edited = given.moments[1].matrix, all_keys(model, 1)
    update = found.sum().double()
    assert float((update @ preserved).norm()) < 1e-5 * float(update.norm() * preserved.norm())
    assert float((update @ edited).norm()) > 0.1 * float(found.r[:, 0].norm())
    projection = alphaedit.null_space_projection(given.moments[1], 1e-6)
    identity = torch.eye(model.d_mlp, dtype=torch.float64)
    plain = torch.linalg.solve(projection @ edited @ edited.T + identity, projection @ edited)
    torch.testing.assert_close(alphaedit.projected_keys(edited, projection, 1.0), plain, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("threshold", [1e-9, 1e9])
def test_alphaedit_needs_a_threshold_that_parts_the_eigenvalues(model, threshold):
    with pytest.raises(OnemaskError, match="between .* and "):
        alphaedit.null_space_projection(some_moment(model, 1), threshold)


def ft_settings(**changed) -> ft_l.Settings:
    given = {"layer": 1, "steps": 4, "lr": 0.01, "norm_constraint": 0.015, "loss_threshold": 0.01, "rank": 32}
    return ft_l.Settings(**given | {"edit_batch_tokens": 1000} | changed)


def test_ft_l_is_plain_fine_tuning_within_a_box(model):
    """Of full rank, it equals Adam on the weight itself, clamped; and no weight has left the box."""
    result = ft_l.edit(task(model), ft_settings())
    assert float(result.truncation.max()) < 1e-9
    for i, fact in enumerate(FACTS):
        weight = model.weight(1)
        start, change = weight.clone(), torch.zeros_like(weight, requires_grad=True)
        optimiser = torch.optim.Adam([change], lr=0.01)
        prompt = encode(model.tokenizer, fill(fact["prompt"], fact["subject"]))
        target = object_ids(model.tokenizer, fact["target_new"])
        for _ in range(3):
            hook = model.matrix(1).register_forward_hook(lambda _, args, out, change=change: out + args[0] @ change.T)
            log_probs = model.network(torch.tensor([prompt + target[:-1]])).logits[0, len(prompt) - 1 :].log_softmax(-1)
            hook.remove()
            optimiser.zero_grad()
            (-log_probs[torch.arange(len(target)), torch.tensor(target)].mean()).backward()
            optimiser.step()
            with torch.no_grad():
                change.clamp_(-0.015, 0.015)
        assert torch.equal(model.weight(1), start)
        assert relative(result.layers[0].dense(i), change.detach()) < 1e-8
        assert float(result.layers[0].dense(i).abs().max()) < 0.015 * 1.001


def test_ft_l_says_what_its_rank_loses(model):
    whole, cut = ft_l.edit(task(model), ft_settings()), ft_l.edit(task(model), ft_settings(rank=2))
    assert cut.layers[0].u.shape == (len(FACTS), 2, model.d_mlp)
    for i in range(len(FACTS)):
        lost = relative(cut.layers[0].dense(i), whole.layers[0].dense(i))
        assert lost == pytest.approx(float(cut.truncation[i]), rel=1e-3) and lost > 0.1


def test_a_fact_can_be_taken_out_of_a_batch(model):
    """apply, remove, sum: the batch without a fact is the batch's update less that fact's, and weights come back bit for bit."""
    result = memit.edit(task(model), MEMIT)
    before = [model.weight(layer).clone() for layer in range(model.n_layers)]
    for part in result.layers:
        rest = part.without(1)
        assert len(rest) == len(FACTS) - 1
        torch.testing.assert_close(rest.sum() + part.dense(1), part.sum())
        torch.testing.assert_close((part[:1] + part[1:]).sum(), part.sum())
    with applied(model, [part.without(1) for part in result.layers]):
        for part in result.layers:
            torch.testing.assert_close(
                model.weight(part.layer), before[part.layer] + (part.sum() - part.dense(1)).double(), rtol=1e-5, atol=1e-6
            )
    assert all(torch.equal(model.weight(layer), weight) for layer, weight in enumerate(before))


def test_edits_of_different_layers_do_not_add():
    part = FactoredEdits(0, torch.ones(1, 1, 3), torch.ones(1, 1, 2))
    with pytest.raises(ValueError, match="layers 0 and 1"):
        part + FactoredEdits(1, part.u, part.r)


@pytest.mark.parametrize("editor", [rome, memit])
def test_a_nan_fails_one_edit_and_spares_the_others(model, monkeypatch, editor):
    settings, module = (ROME, rome) if editor is rome else (MEMIT, memit)
    whole = editor.edit(task(model), settings)

    def poisoned(model, batch, initial, layer, settings):
        initial = initial.clone()
        initial[1] = math.nan
        return optimise(model, batch, initial, layer, settings)

    monkeypatch.setattr(module, "optimise", poisoned)
    order_kept = dataclasses.replace(settings, edit_batch_tokens=10_000)
    monkeypatch.setattr(module, "text_groups", lambda texts, budget: [list(range(len(texts)))])
    found = editor.edit(task(model), order_kept)
    assert found.failed.tolist() == [False, True, False, False]
    for part, other in zip(found.layers, whole.layers, strict=True):
        assert float(part.dense(1).abs().max()) == 0.0 and torch.isfinite(part.u).all() and torch.isfinite(part.r).all()
        if editor is rome:
            torch.testing.assert_close(part.dense(0), other.dense(0), rtol=1e-9, atol=1e-12)


def test_a_text_beyond_the_context_is_refused(model):
    long = FACTS[0] | {"prompt": "so it is " * 40 + "{} is in"}
    with pytest.raises(OnemaskError, match="texts about 'Kyoto' of at most 64 tokens"):
        rome.edit(task(model, [long]), ROME)


def test_texts_may_fill_the_context(model):
    """Short and long texts in one batch: padding reaches beyond the context, and changes nothing."""
    words = ["so", "it", "is"] * 30

    def longest(count: int) -> int:
        prompt = f"{' '.join(words[:count])} {FACTS[1]['prompt']}"
        target = object_ids(model.tokenizer, FACTS[1]["target_new"])
        return len(encode_with_subject(model.tokenizer, prompt, FACTS[1]["subject"], TEMPLATES[2])[0]) + len(target) - 1

    count = max(count for count in range(60) if longest(count) <= model.n_ctx)
    assert longest(count) > model.n_ctx - 4
    long = FACTS[1] | {"prompt": f"{' '.join(words[:count])} {FACTS[1]['prompt']}"}
    found = rome.edit(task(model, [FACTS[0], long]), ROME)
    alone = rome.edit(task(model, [FACTS[0]]), ROME)
    torch.testing.assert_close(found.layers[0].dense(0), alone.layers[0].dense(0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("layers", [[2, 0], [1, 1], [3, 4]])
def test_layers_must_ascend_and_exist(model, layers):
    with pytest.raises(OnemaskError, match="ascending layers|a layer in 0..3"):
        memit.edit(task(model), dataclasses.replace(MEMIT, layers=layers))
