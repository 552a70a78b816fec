"""Training the shared mask K over many edits at once: equations 1-4 and appendix A of the paper.

Each row of a batch is one text under its own edit, W_hat_i * K, in factored form; everything up to the input of W is computed
once (method.md section 4).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from onemask.edits import FactoredEdits, product
from onemask.errors import OnemaskError
from onemask.files import replacing
from onemask.forward import Cut, finish, last, logits_at, split_at
from onemask.masks import pruned_share
from onemask.models import Model
from onemask.scoring import kl_divergence, probe, score
from onemask.tokens import encode, encode_target, pad


@dataclass(frozen=True)
class MaskSettings:
    """Constants of appendix A under the paper's symbols; see config/schemas for each one's source and unit.

    parametrisation: "sigmoid" (the paper's, K = sigmoid(theta / tau), hard where K >= gamma) or "topk" (straight-through:
    exactly the share `s_max` with the smallest theta is removed in every forward pass).
    """

    parametrisation: str
    epochs: int
    lr: float
    batch_edits: int
    gamma: float
    s_max: float
    delta_margin: float
    beta_kl: float
    theta_mean: float
    theta_sd: float
    tau_start: float
    tau_decay: float
    temperature_start: float
    temperature_end: float
    lambda_start: float
    lambda_end: float
    gradient_clip: float
    validation_share: float


@dataclass(frozen=True)
class TrainingTexts:
    """Three texts an edit (prompt and paraphrases), edit-major, cut at the edited layer.

    original: residual stream of the unedited model behind the last block at the last token, (rows, d_model).
    true, new: first tokens of the objects, (rows,). edit: edit of each row, (rows,).
    """

    cut: Cut
    original: Tensor
    true: Tensor
    new: Tensor
    edit: Tensor


@torch.inference_mode()
def _original(model: Model, cut: Cut, rows: int = 256) -> Tensor:
    parts = []
    for start in range(0, len(cut.lengths), rows):
        part = cut[slice(start, start + rows)]
        parts.append(last(finish(model, part, product(part.keys, model.weight(part.layer))), part.lengths))
    return torch.cat(parts)


def prepare(model: Model, layer: int, facts: pd.DataFrame) -> TrainingTexts:
    """Everything about the training texts that the mask does not change."""
    rows, true, new, edit = [], [], [], []
    for i, fact in enumerate(facts.itertuples()):
        for text in [fact.prompt.replace("{}", fact.subject), *fact.paraphrases]:
            rows.append(encode(model.tokenizer, text))
            true.append(encode_target(model.tokenizer, fact.target_true)[0])
            new.append(encode_target(model.tokenizer, fact.target_new)[0])
            edit.append(i)
    cut = split_at(model, layer, pad(rows))
    columns = (torch.tensor(column, device=model.device) for column in (true, new, edit))
    return TrainingTexts(cut, _original(model, cut).clone(), *columns)


def soft_mask(theta: Tensor, settings: MaskSettings, tau: float) -> Tensor:
    """K as the forward pass uses it, differentiable in theta."""
    if settings.parametrisation == "sigmoid":
        return torch.sigmoid(theta / tau)
    return hard_mask(theta, settings, tau).to(theta.dtype) + (theta - theta.detach())


@torch.no_grad()
def hard_mask(theta: Tensor, settings: MaskSettings, tau: float) -> Tensor:
    """The binary mask, true where the weight is kept (K >= gamma)."""
    if settings.parametrisation == "sigmoid":
        return torch.sigmoid(theta / tau) >= settings.gamma
    removed = round(settings.s_max * theta.numel())
    keep = torch.ones(theta.numel(), dtype=torch.bool, device=theta.device)
    keep[theta.flatten().argsort(stable=True)[:removed]] = False
    return keep.view_as(theta)


@dataclass(frozen=True)
class Schedule:
    """What changes over training, at progress t / T in [0, 1]."""

    tau: float
    temperature: float
    weight: float


def schedule(settings: MaskSettings, progress: float) -> Schedule:
    """tau decays exponentially; the KL temperature and the sparsity weight lambda grow linearly."""
    return Schedule(
        tau=settings.tau_start * math.exp(-settings.tau_decay * progress),
        temperature=settings.temperature_start + progress * (settings.temperature_end - settings.temperature_start),
        weight=settings.lambda_start + progress * (settings.lambda_end - settings.lambda_start),
    )


def terms(
    model: Model,
    texts: TrainingTexts,
    rows: Tensor,
    edits: FactoredEdits,
    keep: Tensor,
    temperature: float,
    margin: float,
) -> tuple[Tensor, Tensor]:
    """Restoration hinge (equation 1, mean over texts of max(0, L + margin)) and KL_T of the texts `rows` under mask `keep`."""
    cut = texts.cut[rows]
    hidden = finish(model, cut, product(cut.keys, model.weight(cut.layer), edits[texts.edit[rows]], keep))
    logits = logits_at(model, last(hidden, cut.lengths))
    log_probs = logits.log_softmax(-1)
    at = torch.arange(len(rows), device=logits.device)
    restoration = log_probs[at, texts.new[rows]] - log_probs[at, texts.true[rows]]
    with torch.no_grad():
        original = (logits_at(model, texts.original[rows]) / temperature).log_softmax(-1)
    divergence = kl_divergence(original, (logits / temperature).log_softmax(-1)).mean()
    return torch.relu(restoration + margin).mean(), temperature**2 * divergence


@dataclass
class State:
    """All that a resumed training needs; `history` holds one row of the `mask_training` table an epoch."""

    theta: Tensor
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    history: list[dict]

    def save(self, path: Path, fingerprint: str) -> None:
        content = {
            "theta": self.theta.detach(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "history": self.history,
            "fingerprint": fingerprint,
        }
        with replacing(path) as temporary:
            torch.save(content, temporary)

    def load(self, path: Path, fingerprint: str) -> None:
        """Take up a checkpoint of the same training; one of another is passed over."""
        content = torch.load(path, weights_only=True)
        if content["fingerprint"] != fingerprint:
            return
        with torch.no_grad():
            self.theta.copy_(content["theta"])
        self.optimiser.load_state_dict(content["optimiser"])
        self.generator.set_state(content["generator"])
        self.history = content["history"]


def new_state(model: Model, settings: MaskSettings, seed: int) -> State:
    """Theta ~ N(theta_mean, theta_sd) and a fresh AdamW."""
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


def train(
    model: Model,
    facts: pd.DataFrame,
    edits: FactoredEdits,
    settings: MaskSettings,
    seed: int,
    checkpoint: Path | None = None,
    fingerprint: str = "",
    progress: Callable[[dict], None] = lambda row: None,
) -> tuple[Tensor, Tensor, list[dict]]:
    """Train the shared mask on `edits` (one a fact, in order); returns theta, the hard mask, and the training curve.

    With `checkpoint`, each epoch's state is kept there until the end and taken up again by a run with the same
    `fingerprint`; the result is that of an unbroken run.

    Raises OnemaskError when the loss is not finite (the checkpoint of the last good epoch stays).
    """
    layer = edits.layer
    training, validation = hold_out(len(facts), settings.validation_share, seed)
    texts = prepare(model, layer, facts.iloc[training])
    held = facts.iloc[validation]
    probes = probe(model, layer, held)
    reference = score(model, probes)
    training_edits, held_edits = edits[torch.from_numpy(training)], edits[torch.from_numpy(validation)]
    state = new_state(model, settings, seed)
    if checkpoint and checkpoint.exists():
        state.load(checkpoint, fingerprint)
    for epoch in range(len(state.history), settings.epochs):
        now = schedule(settings, epoch / max(1, settings.epochs - 1))
        sums = run_epoch(model, texts, training_edits, settings, now, state, epoch)
        keep = hard_mask(state.theta, settings, now.tau)
        scores = score(model, probes, held_edits, keep)
        row = {
            "epoch": epoch,
            **sums,
            "tau": now.tau,
            "pruned": pruned_share(keep),
            "validation_rsr": float((scores.logp_true > scores.logp_new).double().mean()),
            "validation_rsr_first_token": float((scores.first_true > scores.first_new).double().mean()),
            "validation_top1": float((scores.log_probs.argmax(-1) == reference.log_probs.argmax(-1)).double().mean()),
        }
        state.history.append(row)
        progress(row)
        if checkpoint:
            state.save(checkpoint, fingerprint)
    keep = hard_mask(state.theta, settings, schedule(settings, 1.0).tau)
    return state.theta.detach().cpu(), keep.cpu(), state.history


def run_epoch(
    model: Model,
    texts: TrainingTexts,
    edits: FactoredEdits,
    settings: MaskSettings,
    now: Schedule,
    state: State,
    epoch: int,
) -> dict[str, float]:
    """One pass over all edits in random order; mean losses over its batches."""
    order = torch.randperm(len(edits), generator=state.generator)
    per_edit = len(texts.edit) // len(edits)
    sums = {"loss": 0.0, "restoration": 0.0, "sparsity": 0.0, "kl": 0.0}
    chunks = order.split(settings.batch_edits)
    for number, chosen in enumerate(chunks):
        rows = (chosen[:, None] * per_edit + torch.arange(per_edit)).flatten()
        keep = soft_mask(state.theta, settings, now.tau)
        restoration, divergence = terms(model, texts, rows, edits, keep, now.temperature, settings.delta_margin)
        sparsity = (1 - keep).mean()
        loss = restoration + now.weight * torch.relu(sparsity - settings.s_max) + settings.beta_kl * divergence
        if not torch.isfinite(loss):
            raise OnemaskError("a finite loss", f"{float(loss)} in batch {number} of epoch {epoch}", "Lower the learning rate.")
        state.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([state.theta], settings.gradient_clip)
        state.optimiser.step()
        for name, value in (("loss", loss), ("restoration", restoration), ("sparsity", sparsity), ("kl", divergence)):
            sums[name] += float(value.detach()) / len(chunks)
    return sums
