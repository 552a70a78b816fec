"""Scoring facts: log-probabilities of both objects, the predicted token, and the KL divergence, in any state of the layer."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from onemask.io.batching import IN_MEMORY, Work, run_batches
from onemask.io.errors import OnemaskError, shown
from onemask.io.placeholder import fill
from onemask.model.edits import Update, product
from onemask.model.forward import LayerInput, finish_at, logits_at, run_to
from onemask.model.models import Model
from onemask.model.tokens import batches, encode, encode_apart, encode_target, pad


@dataclass(frozen=True)
class Probes:
    """Facts' texts at the edited layer, with the places where the tokens of their objects are read.

    A text is the prompt and all but the last token of an object; a text that both objects share stands once.
    fact: fact of each text. text, position, token: of each object token; side: 0 where it belongs to the true object and 1 to
    the new one.
    """

    at_layer: LayerInput
    fact: Int[Tensor, " texts"]
    text: Int[Tensor, " reads"]
    position: Int[Tensor, " reads"]
    token: Int[Tensor, " reads"]
    side: Int[Tensor, " reads"]


@dataclass(frozen=True)
class Scores:
    """Natural logarithms: object sequence (logp_*) and first token (first_*); log_probs at the last prompt position.

    accuracy: share of the new object's tokens that are the argmax, teacher-forced.
    """

    logp_true: Float[Tensor, " facts"]
    logp_new: Float[Tensor, " facts"]
    first_true: Float[Tensor, " facts"]
    first_new: Float[Tensor, " facts"]
    log_probs: Float[Tensor, "facts d_vocab"]
    accuracy: Float[Tensor, " facts"]


def texts_of(model: Model, facts: pd.DataFrame) -> list[tuple[list[int], list[int], list[int]]]:
    """Token ids of each fact's prompt, true object and new object.

    Raises OnemaskError where they exceed the model's context, or cannot be encoded.
    """
    return [_texts(model, fill(fact.prompt, fact.subject), fact) for fact in facts.itertuples()]


def _texts(model: Model, prompt: str, fact) -> tuple[list[int], list[int], list[int]]:
    # where no true object is known, the new one stands for it, so that every fact has both
    objects = fact.target_true or fact.target_new, fact.target_new
    ids, (true, new) = encode(model.tokenizer, prompt), (encode_target(model.tokenizer, prompt, text) for text in objects)
    length = len(ids) + max(len(true), len(new)) - 1
    if length > model.n_ctx:
        expected = f"a text about {shown(fact.subject)} of at most {model.n_ctx} tokens"
        raise OnemaskError(expected, f"{length}", "Shorten the prompt.")
    return ids, true, new


def fact_batches(model: Model, facts: pd.DataFrame, batch_tokens: int) -> list[list[int]]:
    """Row numbers of `facts`, grouped by the length of their texts."""
    lengths = [2 * (len(prompt) + max(len(true), len(new)) - 1) for prompt, true, new in texts_of(model, facts)]
    return batches(lengths, batch_tokens)


def probe(model: Model, layer: int, facts: pd.DataFrame) -> Probes:
    """Run each fact's texts up to the edited layer."""
    rows: list[list[int]] = []
    owner: list[int] = []
    reads = []
    for i, (prompt, *targets) in enumerate(texts_of(model, facts)):
        at: dict[tuple[int, ...], int] = {}
        for side, target in enumerate(targets):
            start = tuple(target[:-1])
            if start not in at:
                at[start] = len(rows)
                rows.append(prompt + target[:-1])
                owner.append(i)
            reads += [(at[start], len(prompt) - 1 + n, token, side) for n, token in enumerate(target)]
    columns = (torch.tensor(column, device=model.device) for column in zip(*reads, strict=True))
    return Probes(run_to(model, layer, pad(rows)), torch.tensor(owner, device=model.device), *columns)


@torch.inference_mode()
def score(
    model: Model,
    probes: Probes,
    update: Update | None = None,
    keep: Shaped[Tensor, "d_model d_mlp"] | None = None,
    restores: bool = False,
) -> Scores:
    """Score facts with the layer in one state: with `update` (fact i under update i) or not, masked by `keep` or not.

    restores: where the mask is 0 the weight is what it was before the edit, not zero.
    """
    by_text = None if update is None else update[probes.fact]
    weight = model.weight(probes.at_layer.layer)
    output = product(probes.at_layer.keys, weight, by_text, keep, restores)
    log_probs = logits_at(model, finish_at(model, probes.at_layer, output, probes.text, probes.position)).log_softmax(-1)
    logp = log_probs.gather(1, probes.token[:, None])[:, 0].double()
    target = 2 * probes.fact[probes.text] + probes.side
    facts = int(probes.fact[-1]) + 1

    def summed(values: Tensor) -> Float[Tensor, "facts 2"]:
        zeros = torch.zeros(2 * facts, dtype=torch.float64, device=values.device)
        return zeros.index_add(0, target, values.double()).cpu().view(facts, 2)

    sums, hits, counts = summed(logp), summed(log_probs.argmax(-1) == probes.token), summed(torch.ones_like(logp))
    is_first = torch.cat([torch.ones_like(target[:1], dtype=torch.bool), target[1:] != target[:-1]])
    first = logp[is_first].cpu().view(facts, 2)
    at_prompt = log_probs[is_first][0::2].cpu()
    return Scores(sums[:, 0], sums[:, 1], first[:, 0], first[:, 1], at_prompt, (hits / counts)[:, 1])


def kl_divergence(
    reference: Float[Tensor, "*places d_vocab"], other: Float[Tensor, "*places d_vocab"]
) -> Float[Tensor, "*places"]:
    """KL(reference || other) of log-probabilities, in nats."""
    return (reference.exp() * (reference - other)).sum(-1)


def nested(model: Model, facts: pd.DataFrame) -> Bool[np.ndarray, " facts"]:
    """Do the tokens of one object begin the other's? Then log P of the shorter is never the lower, whatever the model says."""
    both = [(true, new) for _, true, new in texts_of(model, facts)]
    return np.array([true[: len(new)] == new[: len(true)] for true, new in both], dtype=bool)


@torch.inference_mode()
def knowledge(
    model: Model,
    facts: pd.DataFrame,
    work: Work = IN_MEMORY,
) -> pd.DataFrame:
    """The `knowledge` table: does the unedited model prefer the true object, P(o) > P(o*)? facts: with their `split`."""

    def compute(group: list[int]) -> dict[str, Tensor]:
        scores = score(model, probe(model, model.n_layers - 1, facts.iloc[group]))
        return {"logp_true": scores.logp_true, "logp_new": scores.logp_new}

    scores = run_batches(fact_batches(model, facts, work.batch_tokens), compute, work)
    table = facts[["case_id", "relation_id", "split"]].assign(**{name: values.numpy() for name, values in scores.items()})
    return table.assign(known=(table["logp_true"] > table["logp_new"]) & ~nested(model, facts))


def first_tokens(model: Model, facts: pd.DataFrame, column: str, as_released: bool = False) -> Int[Tensor, " facts"]:
    """First token of each fact's object `column` behind its prompt or, as the release reads it, apart and without its space."""
    if as_released:
        ids = [encode_apart(model.tokenizer, text)[0] for text in facts[column]]
    else:
        prompts = [fill(fact.prompt, fact.subject) for fact in facts.itertuples()]
        ids = [encode_target(model.tokenizer, prompt, text)[0] for prompt, text in zip(prompts, facts[column], strict=True)]
    return torch.tensor(ids, device=model.device)
