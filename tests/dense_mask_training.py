"""The mask's training as the release runs it, nothing saved: for each edit the whole matrix (W + r u^T) * K goes into the plain
model, which reads every text from its first token on (equations 1-4, method.md section 4).

The yardstick of onemask.masking.training. Two things are spared that the release computes: the unedited model's logits are
kept, and the head sees last positions only.
"""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor
from torch.func import functional_call

from onemask.masking.settings import MaskSettings, Schedule
from onemask.model.edits import JointEdit, Update
from onemask.model.models import Model
from onemask.model.tokens import encode, pad
from tiny_model import object_ids


@dataclass(frozen=True)
class Record:
    """One edit: token ids of its texts, first tokens of the object to restore and of the one to suppress, its dense update
    (d_model, d_mlp), and the unedited model's logits at each text's last token, (texts, vocabulary).
    """

    texts: list[list[int]]
    true: int
    new: int
    update: Tensor
    original: Tensor


def last_logits(model: Model, texts: list[list[int]], matrices: dict[int, Tensor]) -> Tensor:
    """Logits at each text's last token, (texts, vocabulary), of the plain model with other W (d_model, d_mlp) in some layers."""
    names = {parameter: name for name, parameter in model.network.named_parameters()}
    swapped = {
        names[model.matrix(layer).weight]: matrix.T if model.family.transposed else matrix for layer, matrix in matrices.items()
    }
    tokens = pad(texts)
    kept = {"logits_to_keep": tokens.last.to(model.device), "use_cache": False}
    logits = functional_call(model.network, swapped, (tokens.ids.to(model.device),), kept).logits
    at = torch.arange(len(texts), device=model.device)
    return logits[at, at]


def make_records(model: Model, facts: pd.DataFrame, update: Update) -> list[Record]:
    """The facts' prompts and paraphrases, each under its own edit (or all under the one)."""
    found = []
    for i, fact in enumerate(facts.itertuples()):
        texts = [encode(model.tokenizer, text) for text in (fact.prompt.replace("{}", fact.subject), *fact.paraphrases)]
        true, new = (object_ids(model.tokenizer, target)[0] for target in (fact.target_true, fact.target_new))
        dense = update.matrix if isinstance(update, JointEdit) else update.dense(i)
        with torch.no_grad():
            found.append(Record(texts, true, new, dense, last_logits(model, texts, {})))
    return found


def terms(
    model: Model,
    layer: int,
    record: Record,
    keep: Tensor,
    temperature: float,
    margin: float,
    padded: bool = False,
    others: dict[int, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Equation 1's hinge and KL_T, means over the record's texts, which run one by one or as one padded batch.

    others: W of other edited layers.
    """
    weight = model.weight(layer)
    matrices = {**(others or {}), layer: ((weight + record.update) * keep).to(weight.dtype)}
    groups = [record.texts] if padded else [[text] for text in record.texts]
    logits = torch.cat([last_logits(model, group, matrices) for group in groups])
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    log_probs = logits.log_softmax(-1)
    hinge = torch.relu(log_probs[:, record.new] - log_probs[:, record.true] + margin)
    original = (record.original.to(logits) / temperature).log_softmax(-1)
    divergence = (original.exp() * (original - (logits / temperature).log_softmax(-1))).sum(-1)
    return hinge.mean(), temperature**2 * divergence.mean()


class Trainer:
    """theta (d_model, d_mlp) and its AdamW."""

    def __init__(self, model: Model, layer: int, settings: MaskSettings, theta: Tensor, padded: bool = False):
        self.model, self.layer, self.settings, self.padded = model, layer, settings, padded
        self.theta = theta.detach().clone().requires_grad_(True)
        self.optimiser = torch.optim.AdamW([self.theta], lr=settings.lr, betas=(0.9, 0.999), weight_decay=0.0)

    def step(self, batch: list[Record], now: Schedule) -> float:
        """One update of theta, gradients summed record by record; the loss before it."""
        self.optimiser.zero_grad()
        keep = torch.sigmoid(self.theta / now.tau)
        loss = now.weight * torch.relu((1 - keep).mean() - self.settings.s_max)
        loss.backward(retain_graph=True)
        loss = loss.detach()
        for record in batch:
            part = self.loss(record, keep, now.temperature) / len(batch)
            part.backward(retain_graph=True)  # of `keep`, which all records share
            loss = loss + part.detach()
        torch.nn.utils.clip_grad_norm_([self.theta], self.settings.gradient_clip)
        self.optimiser.step()
        return float(loss)

    def loss(self, record: Record, keep: Tensor, temperature: float) -> Tensor:
        """What one record adds, apart from the sparsity penalty."""
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            hinge, divergence = terms(self.model, self.layer, record, keep, temperature, self.settings.delta_margin, self.padded)
        return hinge + self.settings.beta_kl * divergence
