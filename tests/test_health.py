"""Health of an edit and the word for what became of its fact: neither a broken model nor doing nothing is called edited."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import FACTS, ROOT
from onemask.commands.outcome import outcome
from onemask.commands.sum_check import in_the_sum
from onemask.editors import memit, rome, verdicts
from onemask.editors.base import Edited
from onemask.editors.health import UNSTABLE, health
from onemask.editors.tables import edits_table, without_unstable
from onemask.model import neutral
from onemask.model.edits import FactoredEdits, applied
from onemask.model.scoring import nested
from test_editors import MEMIT, ROME, task

FRAME = pd.DataFrame(FACTS)


def edited_by(u: torch.Tensor, r: torch.Tensor, layer: int = 1) -> Edited:
    zeros = torch.zeros(len(u), dtype=torch.float64)
    return Edited([FactoredEdits(layer, u, r)], zeros[:, None], zeros, zeros.bool())


def scaled(model, factor: float) -> Edited:
    """ROME's edits, the last of them times a factor."""
    (part,) = rome.edit(task(model), ROME).layers
    factors = torch.ones(len(part), dtype=part.r.dtype)
    factors[-1] = factor
    return edited_by(part.u, part.scaled(factors).r)


def network_divergence(model, edits: list[FactoredEdits]) -> float:
    """By the network itself, on the text as its tokenizer reads it."""

    def log_probs() -> torch.Tensor:
        ids = model.tokenizer(neutral.TEXT)["input_ids"][: neutral.TOKENS]
        with torch.no_grad():
            return model.network(torch.tensor([ids])).logits[0].log_softmax(-1)

    reference = log_probs()
    with applied(model, edits):
        other = log_probs()
    return float(torch.nn.functional.kl_div(other, reference, log_target=True, reduction="none").sum(-1).mean())


def test_the_divergence_is_that_of_the_network_itself(model):
    edited = rome.edit(task(model), ROME)
    (part,) = edited.layers
    table = health(model, edited, joint=False)
    assert table["neutral_kl"].tolist() == pytest.approx(
        [network_divergence(model, [part[[i]]]) for i in range(len(FACTS))], rel=1e-4
    )
    norms = [float(part.dense(i).norm() / model.weight(part.layer).norm()) for i in range(len(FACTS))]
    assert table["relative_norm"].tolist() == pytest.approx(norms, rel=1e-5)


def test_a_joint_edit_has_one_health(model):
    edited = memit.edit(task(model), MEMIT)
    table = health(model, edited, joint=True)
    assert table["neutral_kl"].tolist() == pytest.approx(len(FACTS) * [network_divergence(model, edited.layers)], rel=1e-4)
    norms = [float(part.sum().norm() / model.weight(part.layer).norm()) for part in edited.layers]
    assert table["relative_norm"].tolist() == pytest.approx(len(FACTS) * [max(norms)], rel=1e-5)


@pytest.mark.parametrize("factor", [1e4, math.nan, math.inf])
def test_an_edit_that_breaks_the_model_is_unstable_and_the_others_are_not(tiny, factor):
    model = tiny
    table = edits_table(model, FRAME, scaled(model, factor), False, 1000)
    assert table["unstable"].tolist() == [*(table["neutral_kl"] > UNSTABLE * neutral.mean_nll(model, neutral.TOKENS))[:-1], True]
    assert table["verdict"].iloc[-1] == verdicts.UNSTABLE
    left = without_unstable(table)
    assert left["failure"].iloc[-1] == "unstable" and (without_unstable(table.assign(joint=True))["failure"] == "").all()


def test_no_edit_is_healthy_and_edits_nothing(model):
    zeros = edited_by(*(torch.zeros(len(FACTS), 1, size, dtype=torch.float64) for size in (model.d_mlp, model.d_model)))
    table = edits_table(model, FRAME, zeros, False, 1000)
    assert not table["unstable"].any() and table["neutral_kl"].abs().max() < 1e-9
    so_before = table["logp_new_before"] > table["logp_true_before"]
    assert table["verdict"].tolist() == [verdicts.ALREADY_SO if so else verdicts.NOT_EDITED for so in so_before]


def row(**changes) -> dict:
    usual = {"target_true": "Oslo", "failure": "", "unstable": False, "logp_true_before": -1.0, "logp_new_before": -5.0}
    usual |= {"logp_true_after": -6.0, "logp_new_after": -0.5, "token_accuracy_before": 0.0, "token_accuracy": 1.0}
    return usual | changes


CASES = {
    "edited": (row(), False),
    "not edited": (row(logp_new_after=-7.0), False),
    "already so": (row(logp_true_before=-6.0), False),
    "not edited any more": (row(logp_true_before=-6.0, logp_new_after=-7.0), False),
    "undecidable": (row(), True),
    "unstable": (row(unstable=True), True),
    "failed": (row(failure="loss not finite", unstable=True), False),
    "edited, true object unknown": (row(target_true="", logp_true_before=math.nan, logp_true_after=math.nan), True),
    "not edited, true object unknown": (row(target_true="", token_accuracy=0.5), True),
    "already so, true object unknown": (row(target_true="", token_accuracy_before=1.0), True),
}


@pytest.mark.parametrize("case", CASES)
def test_what_became_of_a_fact_is_one_word(case):
    values, begins = CASES[case]
    (word,) = verdicts.verdicts(pd.DataFrame([values]), np.array([begins]))
    assert word == case.split(",")[0].removesuffix(" any more") and word in verdicts.VERDICTS


def test_objects_of_which_one_begins_the_other_are_told(model):
    pairs = [("Japan", "South Korea"), ("South", "South Korea"), ("South Korea", "South"), ("Japan", "Japan"), ("", "Japan")]
    frame = pd.DataFrame([FACTS[0] | {"target_true": true, "target_new": new} for true, new in pairs])
    assert nested(model, frame).tolist() == [False, True, True, True, True]


def test_the_last_lines_say_what_to_do(tiny):
    table = edits_table(tiny, FRAME, scaled(tiny, 1e4), False, 1000)
    table.loc[0, ["target_true", "target_new", "verdict"]] = "New York", "New York City", "undecidable"
    table.loc[0, ["logp_true_before", "logp_new_before", "logp_true_after", "logp_new_after"]] = -1.0, -3.0, -1.0, -1.1
    said = outcome(table)
    assert "the model goes on to the longer with p 0.14 -> 0.90" in said
    assert "nats a token on a neutral text: method r-rome, or a prompt" in said
    assert said.endswith("1 unstable") or "1 unstable" in said.splitlines()[-1]


def test_edits_in_a_sum_are_counted_where_they_still_hold(tiny):
    """Beside the network itself, in which the sum is written."""
    (part,) = rome.edit(task(tiny), ROME).layers
    table = edits_table(tiny, FRAME, edited_by(part.u, part.r), False, 1000)
    alone = verdicts.holds(table)
    with applied(tiny, [part]):
        together = edits_table(tiny, FRAME, edited_by(part.u, torch.zeros_like(part.r)), False, 1000)
        perplexity = math.exp(neutral.mean_nll(tiny))
    expected = int((alone & verdicts.holds(together)).sum())
    said = in_the_sum(tiny, table)
    assert said.startswith(f"{expected} of {alone.sum()} edits that hold on their own hold in the sum")
    assert said.endswith(f"{math.exp(neutral.mean_nll(tiny)):,.4g} -> {perplexity:,.4g}")


def test_a_sum_of_nothing_holds_what_held(tiny):
    zeros = edited_by(*(torch.zeros(len(FACTS), 1, size) for size in (tiny.d_mlp, tiny.d_model)))
    table = edits_table(tiny, FRAME, zeros, False, 1000)
    count, before = verdicts.holds(table).sum(), f"{math.exp(neutral.mean_nll(tiny)):,.4g}"
    assert in_the_sum(tiny, table) == (
        f"{count} of {count} edits that hold on their own hold in the sum; perplexity of a neutral text {before} -> {before}"
    )


def test_the_words_stand_in_the_docs():
    page = (ROOT / "docs" / "your_own.md").read_text(encoding="utf-8")
    first = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
    assert tuple(first) == verdicts.VERDICTS
