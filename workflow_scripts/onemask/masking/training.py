"""Training the shared mask K over many edits at once: equations 1-4 and appendix A of the paper.

Each row of a batch is one text under its own edit, W_hat_i * K, in factored form; everything up to the input of W is computed
once (method.md section 4).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from onemask.io.batching import nothing
from onemask.io.errors import OnemaskError
from onemask.io.placeholder import fill
from onemask.io.tensor_files import NO_CHECKPOINT, Checkpoint
from onemask.masking import parametrisations
from onemask.masking.masks import pruned_share
from onemask.masking.parametrisations import Matrix, Scalar, hard_mask
from onemask.masking.settings import MaskSettings, Schedule, schedule
from onemask.model.edits import LayerEdits, Update, product
from onemask.model.forward import at_least_float32, ends, finish_at
from onemask.model.input_cache import LayerInputCache, cache_layer_inputs
from onemask.model.models import Model
from onemask.model.scoring import fact_batches, probe, score
from onemask.model.tokens import batches, encode, encode_target


@dataclass(frozen=True)
class TrainingTexts:
    """Three texts an edit (prompt and paraphrases), edit-major.

    cache: the edited layer's input. target: residual stream behind the last block at the last token of the model that the mask
    shall restore. true, new: first tokens of the object to restore and of the one to suppress. edit: edit of each text.
    """

    cache: LayerInputCache
    target: Float[Tensor, "texts d_model"]
    true: Int[Tensor, " texts"]
    new: Int[Tensor, " texts"]
    edit: Int[Tensor, " texts"]


@torch.inference_mode()
def _streams(
    model: Model, cache: LayerInputCache, update: Update | None, edit: Int[Tensor, " texts"], settings: MaskSettings
) -> Float[Tensor, "texts d_model"]:
    """Residual streams of all texts behind the last block at the last token, under `update` or none."""
    streams = torch.empty(len(cache.lengths), model.d_model, dtype=cache.base.dtype, device=model.device)
    for group in batches(cache.lengths.tolist(), settings.batch_tokens):
        at_layer = cache[torch.tensor(group)]
        output = product(at_layer.keys, model.weight(cache.layer), None if update is None else update[edit[group]])
        streams[group] = finish_at(model, at_layer, output, *ends(at_layer.lengths))
    return streams


def prepare(
    model: Model,
    edits: LayerEdits,
    facts: pd.DataFrame,
    settings: MaskSettings,
    swapped: np.ndarray | None = None,
    file: Path | None = None,
) -> TrainingTexts:
    """Everything about the training texts that the mask does not change.

    swapped: (facts,), true where original and edited change places, in the objects and in the model to restore. file: where
    what exceeds the settings' cache_mb is kept.
    """
    texts, true, new, edit = [], [], [], []
    for i, fact in enumerate(facts.itertuples()):
        for text in [fill(fact.prompt, fact.subject), *fact.paraphrases]:
            texts.append(encode(model.tokenizer, text))
            true.append(encode_target(model.tokenizer, text, fact.target_true)[0])
            new.append(encode_target(model.tokenizer, text, fact.target_new)[0])
            edit.append(i)
    true, new, edit = (torch.tensor(column, device=model.device) for column in (true, new, edit))
    cache = cache_layer_inputs(model, edits.layer, texts, settings.cache_mb, file)
    target = _streams(model, cache, None, edit, settings)
    if edits.others:
        del cache  # before room for the next is taken
        with edits.others_applied(model):
            cache = cache_layer_inputs(model, edits.layer, texts, settings.cache_mb, file)
    if swapped is not None:
        exchanged = torch.from_numpy(swapped).to(model.device)[edit]
        target = torch.where(exchanged[:, None], _streams(model, cache, edits.update, edit, settings), target)
        true, new = torch.where(exchanged, new, true), torch.where(exchanged, true, new)
    # a copy made outside inference mode, so that training may differentiate through what is computed from it
    return TrainingTexts(cache, target.clone(), true, new, edit)


def terms(
    model: Model,
    texts: TrainingTexts,
    rows: Int[Tensor, " rows"],
    update: Update,
    keep: Matrix,
    temperature: float,
    settings: MaskSettings,
) -> tuple[Scalar, Scalar]:
    """Restoration hinge (equation 1, mean over texts of max(0, L + margin)) and KL_T of the texts `rows` under mask `keep`."""
    at_layer = texts.cache[rows]
    rows = rows.to(model.device)
    with torch.autocast(model.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
        output = product(at_layer.keys, model.weight(at_layer.layer), update[texts.edit[rows]], keep)
        logits = _tempered(model, finish_at(model, at_layer, output, *ends(at_layer.lengths)), temperature)
        with torch.no_grad():
            target = _tempered(model, texts.target[rows], temperature).log_softmax(-1)
    at = torch.arange(len(rows), device=logits.device)
    # the difference of two log-probabilities is that of their logits
    restoration = temperature * (logits[at, texts.new[rows]] - logits[at, texts.true[rows]])
    divergence = torch.nn.functional.kl_div(logits.log_softmax(-1), target, reduction="batchmean", log_target=True)
    return torch.relu(restoration + settings.delta_margin).mean(), temperature**2 * divergence


def _tempered(model: Model, hidden: Float[Tensor, "rows d_model"], temperature: float) -> Float[Tensor, "rows d_vocab"]:
    """Logits / temperature; dividing before the head, which has no bias, touches fewer numbers."""
    return at_least_float32(model.unembed(model.final_norm(hidden) / temperature))


def backward(
    model: Model,
    texts: TrainingTexts,
    rows: Int[Tensor, " rows"],
    update: Update,
    keep: Matrix,
    now: Schedule,
    settings: MaskSettings,
) -> tuple[float, float]:
    """Both terms' means over `rows`, in parts of similar length; the gradient of their weighted sum goes to the leaf `keep`."""
    sums = torch.zeros(2, dtype=torch.float64)
    for part in batches(texts.cache.lengths[rows].tolist(), settings.batch_tokens):
        restoration, divergence = terms(model, texts, rows[part], update, keep, now.temperature, settings)
        share = len(part) / len(rows)
        (share * (restoration + settings.beta_kl * divergence)).backward()
        sums += share * torch.stack([restoration.detach(), divergence.detach()]).double().cpu()
    return float(sums[0]), float(sums[1])


@dataclass
class State:
    """All that a resumed training needs; `history` holds one row of the `mask_training` table an epoch."""

    theta: Matrix
    optimiser: torch.optim.Optimizer
    generator: Generator
    history: list[dict]

    def save(self, checkpoint: Checkpoint) -> None:
        content = {
            "theta": self.theta.detach(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "history": self.history,
        }
        checkpoint.write(content)

    def load(self, checkpoint: Checkpoint) -> None:
        """Take up a checkpoint of the same training; none, or one of another, is passed over."""
        content = checkpoint.read()
        if content is None:
            return
        with torch.no_grad():
            self.theta.copy_(content["theta"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.generator.set_state(content["generator"])
        self.history = content["history"]


def new_state(model: Model, settings: MaskSettings, seed: int) -> State:
    """Theta ~ N(theta_mean, theta_sd), the same on every device, and a fresh AdamW."""
    generator = torch.Generator().manual_seed(seed)
    theta = settings.theta_mean + settings.theta_sd * torch.randn(model.d_model, model.d_mlp, generator=generator)
    theta = theta.to(model.device).requires_grad_(True)
    optimiser = torch.optim.AdamW([theta], lr=settings.lr, betas=(0.9, 0.999), weight_decay=0.0)
    return State(theta, optimiser, generator, [])


def hold_out(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation indices of `count` edits, drawn with a seed (the release shuffles without one)."""
    order = np.random.default_rng(seed).permutation(count)
    held = max(1, round(share * count))
    if held >= count:
        raise OnemaskError("more edits than the validation takes", f"{count}", "Make more training edits.")
    return np.sort(order[held:]), np.sort(order[:held])


class Validation:
    """Held-out edits, judged after each epoch as the test edits are after training."""

    def __init__(self, model: Model, facts: pd.DataFrame, edits: LayerEdits, batch_tokens: int):
        self.model, self.update, self.count = model, edits.update, len(facts)
        self.groups = fact_batches(model, facts, batch_tokens)
        parts = [facts.iloc[group] for group in self.groups]
        self.top1 = [score(model, probe(model, edits.layer, part)).log_probs.argmax(-1) for part in parts]
        with edits.others_applied(model):
            self.probes = [probe(model, edits.layer, part) for part in parts]

    def __call__(self, keep: Bool[Tensor, "d_model d_mlp"]) -> dict[str, float]:
        """RSR, RSR of the first token, and Top-1 overlap under a binary mask."""
        sums = torch.zeros(3, dtype=torch.float64)
        for group, probes, top1 in zip(self.groups, self.probes, self.top1, strict=True):
            scores = score(self.model, probes, self.update[group], keep)
            rates = (
                scores.logp_true > scores.logp_new,
                scores.first_true > scores.first_new,
                scores.log_probs.argmax(-1) == top1,
            )
            sums += torch.stack([rate.sum() for rate in rates])
        names = ("validation_rsr", "validation_rsr_first_token", "validation_top1")
        return dict(zip(names, (sums / self.count).tolist(), strict=True))


def train(
    model: Model,
    facts: pd.DataFrame,
    edits: LayerEdits,
    settings: MaskSettings,
    seed: int,
    swapped: np.ndarray | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
    callback: Callable[[int], None] = nothing,
) -> tuple[Matrix, Bool[Tensor, "d_model d_mlp"], list[dict]]:
    """Train the shared mask on `edits` (one a fact, in order); returns theta, the hard mask, and the training curve.

    swapped: of `prepare`, for the control with shuffled labels. checkpoint: keeps each epoch's state; a training that goes
    on from there ends with the result of an unbroken one. callback: told the number of epochs done.

    Raises OnemaskError when the loss is not finite (the checkpoint of the last good epoch stays).
    """
    training, held = hold_out(len(facts), settings.validation_share, seed)
    file = checkpoint.path and checkpoint.path.with_suffix(".cache")
    swapped = None if swapped is None else swapped[training]
    texts = prepare(model, edits[torch.from_numpy(training)], facts.iloc[training], settings, swapped, file)
    update = edits.update[torch.from_numpy(training)]
    validation = Validation(model, facts.iloc[held], edits[torch.from_numpy(held)], settings.batch_tokens)
    state = new_state(model, settings, seed)
    state.load(checkpoint)
    for epoch in range(len(state.history), settings.epochs):
        now = schedule(settings, epoch / max(1, settings.epochs - 1))
        sums = run_epoch(model, texts, update, settings, now, state, epoch, seed)
        keep = hard_mask(state.theta, settings, now.tau)
        row = {"epoch": epoch, **sums, "tau": now.tau, "pruned": pruned_share(keep), **validation(keep)}
        state.history.append(row)
        logging.info("%s", row)
        callback(epoch + 1)
        state.save(checkpoint)
    keep = hard_mask(state.theta, settings, schedule(settings, 1.0).tau)
    if pruned_share(keep) in (0.0, 1.0):
        logging.warning("the mask prunes %s of the matrix: choose another gamma", pruned_share(keep))
    return state.theta.detach().cpu(), keep.cpu(), state.history


def run_epoch(
    model: Model,
    texts: TrainingTexts,
    update: Update,
    settings: MaskSettings,
    now: Schedule,
    state: State,
    epoch: int,
    seed: int,
) -> dict[str, float]:
    """One pass over all edits in random order; mean losses over its batches."""
    order = torch.randperm(int(texts.edit[-1]) + 1, generator=state.generator)
    sums = dict.fromkeys(("loss", "restoration", "sparsity", "kl"), 0.0)
    chunks = order.split(settings.batch_edits)
    for number, edits in enumerate(chunks):
        rows = torch.isin(texts.edit.cpu(), edits).nonzero()[:, 0]
        # drawn anew for each batch from its place alone, so that a resumed training draws the same
        draw = int(np.random.SeedSequence([seed, epoch, number]).generate_state(1)[0])
        noise = Generator(model.device).manual_seed(draw)
        losses = step(model, texts, rows, update, settings, now, state, noise)
        if not np.isfinite(losses["loss"]):
            place = f"{losses['loss']} in batch {number} of epoch {epoch}"
            raise OnemaskError("a finite loss", place, "Lower the learning rate; the last epoch's checkpoint was kept.")
        for name, value in losses.items():
            sums[name] += value / len(chunks)
    return sums


def step(
    model: Model,
    texts: TrainingTexts,
    rows: Int[Tensor, " rows"],
    update: Update,
    settings: MaskSettings,
    now: Schedule,
    state: State,
    noise: Generator,
) -> dict[str, float]:
    """One update of theta on the texts `rows`; the losses before it. Theta stays where the loss is not finite."""
    parametrisation = parametrisations.of(settings)
    soft = parametrisation.soft(state.theta, now.tau, noise)
    keep = soft.detach().requires_grad_(True)
    restoration, divergence = backward(model, texts, rows, update, keep, now, settings)
    sparsity = parametrisation.pruned(state.theta, soft)
    penalty = now.weight * torch.relu(sparsity - settings.s_max)
    state.optimiser.zero_grad()
    assert keep.grad is not None, "backward leaves the gradient there"
    ((soft * keep.grad).sum() + penalty).backward()
    loss = restoration + float(penalty.detach()) + settings.beta_kl * divergence
    norm = float(torch.nn.utils.clip_grad_norm_([state.theta], settings.gradient_clip))
    if np.isfinite(loss) and not np.isfinite(norm):
        loss = norm  # a gradient that is not finite would do the same harm
    if np.isfinite(loss):
        state.optimiser.step()
    return {"loss": loss, "restoration": restoration, "sparsity": float(sparsity.detach()), "kl": divergence}
