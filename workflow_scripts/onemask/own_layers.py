"""What `onemask layers` does: a rule of thumb for which layer's edits one mask may reverse, before any GPU day is spent."""

import pandas as pd

from onemask.config import SHIPPED
from onemask.facts import embedded_records, to_table
from onemask.key_energy import by_layer
from onemask.models import load_checkpoint
from onemask.own_edits import locate
from onemask.own_facts import read_own_facts
from onemask.progress import Progress

ADVICE = (
    "common_energy: what a tenth of the neurons holds of the subjects' normalised keys; cosine: mean between two subjects.\n"
    "One mask reverses edits that it has not seen where keys are shared: prefer layers of high common_energy in which editing "
    "still succeeds."
)


def embedded_facts() -> pd.DataFrame:
    """The `facts` table of every embedded fact."""
    folder = SHIPPED / "config" / "datasets" / "embedded"
    facts, relations = (pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False) for name in ("facts", "relations"))
    return to_table(embedded_records(facts, relations, seed=0))


def layers(location: str, path: str | None, device: str, dtype: str) -> str:
    """The `key_energy` table of a checkpoint's layers as text, from one forward pass over the facts' prompts."""
    folder, info = locate(location)
    model = load_checkpoint(folder, info, device, dtype)
    facts = embedded_facts() if path is None else read_own_facts(path)
    table = by_layer(model, facts, Progress(facts["subject"].nunique(), "subjects"))
    shown = table[["layer", "common_energy", "cosine"]].to_string(index=False, float_format=lambda value: f"{value:.2f}")
    return f"{shown}\n{table['subjects'].iloc[0]} subjects. {ADVICE}"
