"""Claims: every verdict by hand-made facts, every statistic against scipy, and each way to write a claim wrongly."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from onemask.config import load as config
from onemask.io.errors import OnemaskError
from onemask.masking.masks import Mask
from onemask.summaries import claims, claims_page, evidence

ROOT = Path(__file__).resolve().parent.parent
CLAIM = {"id": "a", "says": "A.", "source": "here", "table": "reversal", "quantity": "rsr", "split": "test", "state": "shared"}


def facts(n: int = 100, **rates: float) -> pd.DataFrame:
    """Facts of two relations, of which a share is reversed in each state."""
    parts = [
        pd.DataFrame({"case_id": range(n), "relation_id": ["P1", "P2"] * (n // 2), "split": "test", "state": state})
        .assign(rsr=[1.0] * round(rate * n) + [0.0] * (n - round(rate * n)))
        .assign(other=lambda part: 0.5 * part["rsr"])
        for state, rate in rates.items()
    ]
    return pd.concat(parts, ignore_index=True)


def verdict(claim: dict, table: pd.DataFrame) -> str:
    return claims.judge(pd.DataFrame([claims.evaluate(CLAIM | claim, table, 0, resamples=2000)]))["verdict"].iloc[0]


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.9, "supported"), (0.72, "inconclusive"), (0.66, "inconclusive"), (0.4, "not supported")]
)
def test_a_rate_is_judged_by_its_interval(rate, expected):
    assert verdict({"at_least": 0.7}, facts(shared=rate)) == expected
    opposite = {"supported": "not supported", "not supported": "supported"}
    assert verdict({"at_most": 0.7}, facts(shared=rate)) == opposite.get(expected, expected)


@pytest.mark.parametrize(("random", "expected"), [(0.0, "supported"), (0.9, "not supported"), (1.0, "not supported")])
def test_a_control_as_good_takes_the_claim_away(random, expected):
    table = facts(shared=0.9, random=random)
    assert verdict({"at_least": 0.7, "control": {"state": "random"}}, table) == expected
    assert verdict({"at_least": 0.7}, table) == "supported"


def test_more_facts_decide_what_few_cannot():
    assert verdict({"at_least": 0.7}, facts(10, shared=0.8)) == "inconclusive"
    assert verdict({"at_least": 0.7}, facts(1000, shared=0.8)) == "supported"


def test_equal_is_not_better():
    equal = facts(shared=0.6, random=0.6)
    assert verdict({"minus": {"state": "random"}, "above": 0}, equal) == "not supported"
    assert verdict({"minus": {"state": "random"}, "at_least": 0}, equal) == "supported"
    assert verdict({"at_least": 0.1, "control": {"state": "random"}}, equal) == "not supported"


@pytest.mark.parametrize(("n", "expected"), [(4, "inconclusive"), (40, "supported")])
def test_a_few_facts_that_all_agree_show_little(n, expected):
    """Their resamples cannot vary, but all of four succeed by accident at a rate of 0.9, two times of three."""
    assert verdict({"at_least": 0.9}, facts(n, shared=1.0)) == expected
    assert verdict({"minus": {"state": "random"}, "above": 0}, facts(n, shared=1.0, random=0.0)) == expected
    none = {"supported": "not supported"}.get(expected, expected)
    assert verdict({"at_least": 0.2}, facts(n, shared=0.0)) == none


def test_relations_of_one_fact_each_are_resampled_as_one():
    table = facts(100, shared=0.8)
    alone = table.assign(relation_id=[f"P{case}" for case in table["case_id"]])
    row = claims.evaluate(CLAIM | {"at_least": 0.7}, alone, 0)
    assert row["ci_high"] - row["ci_low"] > 0.1
    assert row["p_for"] == pytest.approx(claims.evaluate(CLAIM | {"at_least": 0.7}, table, 0)["p_for"], abs=0.01)


@pytest.mark.parametrize("statistic", ["mean", "least_relation"])
def test_a_claim_at_its_bound_is_seldom_decided(statistic):
    generator, found = np.random.default_rng(0), []
    for _ in range(200):
        table = facts(80, shared=0.0)
        table["rsr"] = generator.random(80) < 0.7
        row = claims.evaluate(CLAIM | {"at_least": 0.7, "statistic": statistic}, table, 0, resamples=1000)
        found.append(claims.judge(pd.DataFrame([row]))["verdict"].iloc[0])
    decided = [found.count(name) / len(found) for name in claims.VERDICTS[:2]]
    assert sum(decided) <= 0.1, decided


def test_a_ratio_needs_a_divisor_that_is_surely_positive():
    generator = np.random.default_rng(0)
    table = facts(100, shared=1.0, random=1.0)
    ratio, random = {"over": {"state": "random"}, "at_least": 0.5}, table["state"] == "random"
    assert verdict(ratio, table) == "supported"
    for mean in (0.0, -2.0):
        table.loc[random, "rsr"] = generator.normal(mean, 1.0, 100)
        assert verdict(ratio, table) == "inconclusive"


def test_where_the_premise_fails_nothing_is_judged():
    claim = {"at_least": 0.7, "premise": {"state": "random", "at_least": 0.5}}
    assert verdict(claim, facts(shared=0.9, random=0.6)) == "supported"
    table = facts(shared=0.9, random=0.4)
    row = claims.evaluate(CLAIM | claim, table, 0)
    assert verdict(claim, table) == "inconclusive" and row["note"] == "its premise is not met" and row["n"] == 0


def test_what_no_fact_holds_is_not_judged():
    table = facts(shared=0.9).assign(rsr=np.nan)
    row = claims.evaluate(CLAIM | {"at_least": 0.7}, table, 0)
    assert verdict({"at_least": 0.7}, table) == "inconclusive" and row["note"] == "not measured in this run"
    shown = claims_page.wide(claims.judge(pd.DataFrame([row]).assign(model="m", method="rome")))
    assert shown.iloc[0]["verdict"] == "inconclusive (not measured in this run)" and shown.iloc[0]["value"] == ""


def test_statistics_are_those_of_scipy():
    generator = np.random.default_rng(1)
    table = facts(shared=0.5, random=0.5)
    table["rsr"] = generator.normal(1.0, 2.0, len(table))
    first, second = (table.loc[table["state"] == state, "rsr"].to_numpy() for state in ("shared", "random"))
    row = claims.evaluate(CLAIM | {"at_least": 0.0}, table, 0)
    assert row["value"] == pytest.approx(first.mean()) and row["n"] == 100
    expected = stats.bootstrap((first,), np.mean, rng=0, method="percentile").confidence_interval
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((expected.low, expected.high), abs=0.05)
    paired = {"minus": {"state": "random"}, "at_least": 0.0, "statistic": "cohens_d"}
    difference = first - second
    assert claims.evaluate(CLAIM | paired, table, 0)["value"] == pytest.approx(difference.mean() / difference.std(ddof=1))
    ratio = {"over": {"state": "random"}, "at_least": 0.0}
    assert claims.evaluate(CLAIM | ratio, table, 0)["value"] == pytest.approx(first.mean() / second.mean())
    least = {"statistic": "least_relation", "at_least": 0.0}
    assert claims.evaluate(CLAIM | least, table, 0)["value"] == pytest.approx(min(first[0::2].mean(), first[1::2].mean()))


def test_a_control_may_change_the_quantity_or_what_is_subtracted():
    table = facts(shared=0.8, random=0.1, edited=0.0)
    row = claims.evaluate(CLAIM | {"minus": {"state": "random"}, "at_least": 0, "control": {"quantity": "other"}}, table, 0)
    assert (row["value"], row["control_value"]) == pytest.approx((0.7, 0.35)) and row["control"] == "other"
    row = claims.evaluate(
        CLAIM | {"minus": {"state": "edited"}, "at_least": 0, "control": {"minus": {"state": "random"}}}, table, 0
    )
    assert (row["value"], row["control_value"]) == pytest.approx((0.8, 0.7)) and row["control"] == "minus random"


LABELLED = [
    ("zeroed", "update", 0.3, 0.9),
    ("zeroed", "update", 0.1, 0.2),
    ("zeroed", "columns", 0.3, 0.4),
    ("restored", "update", 0.3, 0.6),
    ("shared", "", np.nan, 0.8),
]


def labelled() -> pd.DataFrame:
    """Facts whose state is told by its labels: of a pruning criterion and share, or of the run's own mask, which has none."""
    parts = [facts(**{state: rate}).assign(parametrisation=criterion, share=share) for state, criterion, share, rate in LABELLED]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(("state", "criterion", "share", "rate"), LABELLED)
def test_a_states_labels_say_which_it_is(state, criterion, share, rate):
    where = {"state": state, **({"parametrisation": criterion, "share": share} if criterion else {}), "at_least": 0.5}
    row = claims.evaluate(CLAIM | where, labelled(), 0)
    assert row["value"] == pytest.approx(rate) and row["n"] == 100


def test_unsaid_labels_mean_none():
    """A claim of a criterion without its share is of no row, never of those of some share."""
    row = claims.evaluate(CLAIM | {"state": "zeroed", "parametrisation": "update", "at_least": 0.5}, labelled(), 0)
    assert row["n"] == 0 and row["note"] == "not measured in this run"
    row = claims.evaluate(CLAIM | {"state": "zeroed", "at_least": 0.5}, labelled(), 0)
    assert row["n"] == 0


def test_labels_are_changed_where_something_is_subtracted_or_a_control():
    claim = {"state": "zeroed", "parametrisation": "update", "share": 0.3, "at_least": 0}
    row = claims.evaluate(CLAIM | claim | {"minus": {"parametrisation": "columns"}}, labelled(), 0)
    assert row["value"] == pytest.approx(0.5)
    row = claims.evaluate(CLAIM | claim | {"control": {"share": 0.1}}, labelled(), 0)
    assert row["control_value"] == pytest.approx(0.2) and row["control"] == "0.1"
    own = {"minus": {"state": "zeroed", "parametrisation": "update", "share": 0.1}, "at_least": 0}
    assert claims.evaluate(CLAIM | own, labelled(), 0)["value"] == pytest.approx(0.6)


def test_what_no_fact_has_is_judged_as_it_is():
    table = pd.DataFrame(
        {"case_id": [-1, -1], "relation_id": "", "split": "test", "state": ["shared", "random"], "rsr": [0.1, 0.1]}
    )
    row = claims.evaluate(CLAIM | {"at_most": 0.1}, table, 0)
    assert row["n"] == 1 and np.isnan(row["ci_low"])
    assert verdict({"at_most": 0.1}, table.assign(rsr=88_474 / 884_736)) == "supported"  # one weight too many: rounding
    assert verdict({"at_most": 0.1}, table) == "supported" and verdict({"at_most": 0.09}, table) == "not supported"
    assert verdict({"at_most": 0.2, "control": {"state": "random"}}, table) == "not supported"


def test_a_value_without_a_fact_is_every_facts():
    table = pd.concat(
        [facts(shared=0.5), pd.DataFrame([{"case_id": -1, "relation_id": "", "split": "test", "state": "random", "rsr": 0.25}])]
    )
    row = claims.evaluate(CLAIM | {"minus": {"state": "random"}, "at_least": 0}, table, 0)
    assert row["value"] == pytest.approx(0.25) and row["n"] == 100


def test_holm_is_the_textbooks():
    p = pd.Series([0.01, 0.04, 0.03, 0.005])
    assert claims.holm(p).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_many_claims_make_each_harder():
    table = facts(100, shared=0.8)
    row = claims.evaluate(CLAIM | {"at_least": 0.7}, table, 0)
    assert 0.001 < row["p_for"] < 0.05
    alone, among = (claims.judge(pd.DataFrame([row] * count)) for count in (1, 60))
    assert alone["verdict"].tolist() == ["supported"] and set(among["verdict"]) == {"inconclusive"}


def test_the_same_seed_gives_the_same_row():
    table = facts(shared=0.8, random=0.1)
    claim = CLAIM | {"at_least": 0.7, "control": {"state": "random"}}
    assert claims.evaluate(claim, table, 3) == claims.evaluate(claim, table, 3)
    assert claims.evaluate(claim, table, 3)["ci_low"] == pytest.approx(claims.evaluate(claim, table, 4)["ci_low"], abs=0.03)


@pytest.mark.parametrize(
    "change", [{"state": "nowhere"}, {"split": "ood"}, {"minus": {"state": "nowhere"}}, {"control": {"state": "nowhere"}}]
)
def test_a_claim_of_what_this_run_lacks_says_so(change):
    row = claims.evaluate(CLAIM | {"at_least": 0.5} | change, facts(shared=0.5), 0)
    assert row["n"] == 0 and row["note"] == "not measured in this run"


def test_a_claim_of_what_no_run_measures_is_an_error():
    with pytest.raises(OnemaskError, match="a quantity out of .*rsr"):
        claims.evaluate(CLAIM | {"at_least": 0.5, "quantity": "nothing"}, facts(shared=0.5), 0)


def test_the_projects_claims_are_read():
    found = config.read_claims(ROOT)
    assert len(found) >= 15
    assert all(claim["table"] and sum(bound in claim for bound in claims.BOUNDS) == 1 for claim in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"atleast": 0.5}, "Did you mean 'at_least'"),
        ({"table": "nothing"}, "is not one of"),
        ({"at_most": 0.5}, "is valid under each of"),
        ({"statistic": "median"}, "is not one of"),
    ],
)
def test_a_claim_written_wrongly_is_refused(tmp_path, change, message):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "schemas").symlink_to(ROOT / "config" / "schemas")
    (tmp_path / "config" / "claims.yaml").write_text(yaml.safe_dump([CLAIM | {"at_least": 0.5} | change]))
    with pytest.raises(OnemaskError, match=message):
        config.read_claims(tmp_path)


def test_two_claims_of_one_name_are_refused(tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "schemas").symlink_to(ROOT / "config" / "schemas")
    (tmp_path / "config" / "claims.yaml").write_text(yaml.safe_dump([CLAIM | {"at_least": 0.5}] * 2))
    with pytest.raises(OnemaskError, match="a twice"):
        config.read_claims(tmp_path)


def test_a_page_for_people_escapes_its_markup():
    row = claims.evaluate(
        CLAIM | {"says": "P(o*) of |x|", "at_least": 0.7, "control": {"state": "random"}}, facts(shared=0.9, random=0), 0
    )
    table = claims.judge(pd.DataFrame([row]).assign(model="m", method="rome", edits=9, unstable=2))
    shown = claims_page.wide(table)
    assert shown.columns.tolist() == ["claim", "in the paper", "value", "bound", "control", "p (Holm)", "verdict"]
    assert shown.iloc[0]["value"].startswith("0.9 [") and shown.iloc[0]["control"] == "random: 0"
    said = "ROME on m: of 1 claims 1 supported, 0 not supported, 0 inconclusive; 2 of 9 test edits are unstable."
    assert claims_page.summary(table) == said
    page = claims_page.opening(shown, claims_page.summary(table), "Note.", "run")
    assert r"P(o\*) of \|x\|" in page and "     - supported" in page


LAYERS = (0, 1, 2, 3)


def contributions(case: int, **states: tuple[float, float]) -> list[tuple]:
    """Rows of a `decomposition` table: attention and MLP of every layer, by "state_token"; attention is 9 up to layer 1."""
    return [
        (case, *look.split("_"), layer, component, value)
        for look, (attention, mlp) in states.items()
        for layer in LAYERS
        for component, value in (("attention", attention if layer > 1 else 9.0), ("mlp", mlp))
    ] + [(case, "original", "true", len(LAYERS), "norm_bias", 5.0)]


def looked_at(rows: list[tuple]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["case_id", "state", "token", "layer", "component", "exact"])
    return evidence.decomposition(table, pd.Series("P1", index=table["case_id"].unique()), [1])


def test_evidence_of_decomposition_measures_the_way_from_the_original():
    found = looked_at(
        contributions(
            0,
            original_true=(1, 2),
            original_new=(3, 2),
            edited_true=(1, 0),
            edited_new=(4, 2),
            shared_true=(1, 2),
            shared_new=(2, 1),
        )
    ).set_index(["state", "token"])
    later, far, mlp_far = (found[name] for name in ("attention_later", "attention_distance", "mlp_distance"))
    assert later["edited", "new"] == 8.0 and later["original", "true"] == 2.0
    assert later["original", "new"] == 6.0 and later["shared", "new"] == 4.0
    assert far["edited", "new"] == pytest.approx(6 / 6) and mlp_far["edited", "new"] == 0.0
    assert mlp_far["edited", "true"] == pytest.approx(4 / 6) and mlp_far["shared", "true"] == 0.0
    assert found.loc[("edited", "new"), "mlp_edited"] == 2.0 and set(found["relation_id"]) == {"P1"}


@pytest.mark.parametrize(("works", "expected"), [(True, "supported"), (False, "not supported")])
@pytest.mark.parametrize("name", ["mask_removes_overattention", "mask_preserves_mlp"])
def test_a_mask_that_does_nothing_is_given_no_credit(name, works, expected):
    """Its states are those of the edited model: attention adds as much to the new object, MLPs stay as far from the original."""
    (claim,) = [claim for claim in config.read_claims(ROOT) if claim["id"] == name]
    generator, rows = np.random.default_rng(0), []
    for case in range(40):
        noise = generator.normal(0, 0.1, 6)
        original = {"original_true": (2 + noise[0], 4 + noise[1]), "original_new": (1 + noise[2], 1 + noise[3])}
        edited = {"edited_true": (1 + noise[4], 3 + noise[5]), "edited_new": (6 + noise[0], 1 + noise[1])}
        masked = original if works else edited
        shared = {f"shared_{look.split('_')[1]}": values for look, values in masked.items()}
        rows += contributions(case, **original, **edited, **shared)
    assert claims.judge(pd.DataFrame([claims.evaluate(claim, looked_at(rows), 0, resamples=2000)]))["verdict"].iloc[0] == expected


def test_evidence_of_edits_counts_a_failed_one_as_none():
    table = pd.DataFrame(
        {
            "case_id": [1, 1, 2, 3],
            "relation_id": "P1",
            "failure": ["", "", "loss not finite", ""],
            "logp_new_after": [-1.0, -1.0, -1.0, -3.0],
            "logp_true_after": -2.0,
            "logp_new_before": -5.0,
            "logp_true_before": [-1.0, -1.0, -1.0, -6.0],
        }
    )
    found = evidence.edits(table)
    assert found.loc[found["state"] == "edited", "success"].tolist() == [True, False, False]
    assert found.loc[found["state"] == "original", "success"].tolist() == [False, False, True]


def test_evidence_of_the_mask_has_a_random_one_beside_it():
    import torch

    keep = torch.ones(50, 100, dtype=torch.bool)
    keep[:5] = False
    table = evidence.mask(Mask(1, keep, keep.float()), 0).set_index("state")
    assert table.loc["shared", "top5_pruned"] == 1.0 and table.loc["random", "top5_pruned"] < 0.3
    assert table.loc["shared", "pruned"] == pytest.approx(table.loc["random", "pruned"]) == pytest.approx(0.1)
