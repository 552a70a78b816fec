"""CounterFact records, from its JSON or made of the embedded facts, checked one by one, as the `facts` table."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from onemask.io.errors import OnemaskError, reason

NEIGHBOURS = 10
TEXTS = ("prompt", "subject", "target_new", "target_true")  # of requested_rewrite
LISTS = ("paraphrase_prompts", "neighborhood_prompts")
PARAPHRASES = ("paraphrase_1", "paraphrase_2")  # columns of relations.csv


def read_csv(path: str | Path, *columns: str) -> pd.DataFrame:
    """A table of texts; OnemaskError when it cannot be read or lacks a column."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or no table
        raise OnemaskError(f"a CSV file at {path}", reason(error), "Correct the file.") from error
    missing = [column for column in columns if column not in table]
    if missing:
        raise OnemaskError(f"columns {', '.join(columns)} in {path}", f"no {', '.join(missing)}", "Correct the file.")
    return table


def embedded_facts(facts: str | Path, relations: str | Path, seed: int) -> pd.DataFrame:
    """The `facts` table of the embedded fact set, from its two files."""
    tables = read_csv(facts, "relation", "subject", "object"), read_csv(relations, "relation", "prompt", *PARAPHRASES)
    return to_table(embedded_records(*tables, seed), str(facts))


def embedded_records(facts: pd.DataFrame, relations: pd.DataFrame, seed: int) -> list[dict]:
    """CounterFact records of the embedded fact set.

    facts: relation, subject, object. relations: relation, prompt, paraphrase_1, paraphrase_2, each with one "{}". The new
    object is drawn from the other objects of the relation; neighbourhood prompts are about subjects with the same object.

    Raises OnemaskError on a relation without prompts or with a single object.
    """
    generator = np.random.default_rng(seed)
    prompts = relations.set_index("relation")
    records = []
    for relation, group in facts.groupby("relation", sort=True):
        if relation not in prompts.index:
            raise OnemaskError(f"prompts for {relation}", "none", "Add the relation to relations.csv.")
        objects = sorted(group["object"].unique())
        if len(objects) < 2:
            raise OnemaskError(f"two objects or more for {relation}", str(objects), "Add facts.")
        row = prompts.loc[relation]
        for subject, true in zip(group["subject"], group["object"], strict=True):
            new = str(generator.choice([other for other in objects if other != true]))
            near = group.loc[(group["object"] == true) & (group["subject"] != subject), "subject"].to_numpy()
            near = generator.permutation(near)[:NEIGHBOURS]
            records.append(
                {
                    "case_id": len(records),
                    "requested_rewrite": {
                        "prompt": row["prompt"],
                        "subject": subject,
                        "relation_id": relation,
                        "target_true": {"str": true},
                        "target_new": {"str": new},
                    },
                    "paraphrase_prompts": [row[key].replace("{}", subject) for key in PARAPHRASES],
                    "neighborhood_prompts": [row["prompt"].replace("{}", other) for other in near],
                }
            )
    return records


def read_counterfact(path: str | Path) -> pd.DataFrame:
    """The `facts` table of a CounterFact JSON file; OnemaskError when it is not one."""
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OnemaskError(f"CounterFact JSON at {path}", reason(error), "Check the path and fetch the file again.") from error
    if not isinstance(records, list) or not records:
        raise OnemaskError(f"a list of CounterFact records in {path}", "another structure", "Check the file.")
    return to_table(records, str(path))


def fact_row(record: object, where: str) -> dict:
    """A row of the `facts` table from one CounterFact record; where: its place, for errors.

    Raises OnemaskError when it is no record, a key is missing, a text is empty, or both objects are the same.
    """
    if not isinstance(record, dict) or not isinstance(record.get("requested_rewrite"), dict):
        raise OnemaskError(f"a CounterFact record in {where}", "no requested_rewrite", "Correct the record.")
    rewrite = record["requested_rewrite"]
    missing = [key for key in (*TEXTS, "relation_id") if key not in rewrite]
    missing += [key for key in ("case_id", *LISTS) if key not in record]
    if missing:
        raise OnemaskError(f"a fact's keys in {where}", f"no {', '.join(missing)}", "Add it.")
    if not isinstance(record["case_id"], int) or abs(record["case_id"]) >= 2**63:
        raise OnemaskError(f"a whole number for case_id in {where}", repr(record["case_id"]), "Correct the record.")
    texts = {key: rewrite[key].get("str") if isinstance(rewrite[key], dict) else rewrite[key] for key in TEXTS}
    for key, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise OnemaskError(f"a text for {key} in {where}", repr(text), "Correct the record.")
    if texts["target_new"].strip() == texts["target_true"].strip():
        found = f"{texts['target_new']!r} for both"
        raise OnemaskError(f"a target_new other than target_true in {where}", found, "Correct the record.")
    for key in LISTS:
        if not isinstance(record[key], list) or not all(isinstance(text, str) for text in record[key]):
            raise OnemaskError(f"a list of texts for {key} in {where}", repr(record[key]), "Correct the record.")
    return {
        "case_id": record["case_id"],
        "relation_id": str(rewrite["relation_id"]),
        **texts,
        "paraphrases": record["paraphrase_prompts"],
        "neighborhood": record["neighborhood_prompts"],
    }


def to_table(records: list, source: str) -> pd.DataFrame:
    """The `facts` table of CounterFact records, in their order; source: where they are from, for errors.

    Raises OnemaskError when a record is none, lacks its "{}", or shares its case_id with another.
    """
    rows = [fact_row(record, f"record {number} of {source}") for number, record in enumerate(records, 1)]
    for row in rows:
        if row["prompt"].count("{}") != 1:
            advice = f"Correct case {row['case_id']} of {source}."
            raise OnemaskError('a prompt with "{}" exactly once', repr(row["prompt"]), advice)
    table = pd.DataFrame(rows)
    twice = table.loc[table["case_id"].duplicated(), "case_id"]
    if len(twice):
        raise OnemaskError("a case_id of its own for each fact", f"{twice.iloc[0]} twice in {source}", "Number the facts anew.")
    return table
