"""CounterFact records, from a file or made of the embedded facts, as the `facts` table."""

from pathlib import Path

import numpy as np
import pandas as pd

from onemask.data.read_facts import OF_A_RUN, facts_table, read_facts
from onemask.io.errors import OnemaskError, reason
from onemask.io.placeholder import fill
from onemask.io.problems import Problems

NEIGHBOURS = 10
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
    problems = Problems(facts)
    records = embedded_records(*tables, seed)
    table = facts_table(((f"record {number}", record) for number, record in enumerate(records, 1)), problems, OF_A_RUN)
    problems.settle(len(table))
    return table


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
                    "paraphrase_prompts": [fill(row[key], subject) for key in PARAPHRASES],
                    "neighborhood_prompts": [fill(row["prompt"], other) for other in near],
                }
            )
    return records


def read_counterfact(path: str | Path, skip: bool = False) -> pd.DataFrame:
    """The `facts` table of a file of CounterFact records, or of others with all that a run needs of each fact.

    skip: records that cannot be used are left out and logged.

    Raises OnemaskError when the file cannot be read, or, unless they are skipped, that names every record which cannot be used.
    """
    problems = Problems(path, skip)
    table = read_facts(path, problems, OF_A_RUN)
    problems.settle(len(table))
    return table
