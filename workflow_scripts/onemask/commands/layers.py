"""`onemask layers`: a rule of thumb for which layer's edits one mask may reverse, before any GPU day is spent."""

from onemask.commands.places import locate
from onemask.config.load import SHIPPED
from onemask.data.counterfact import embedded_facts
from onemask.data.read_facts import read_facts
from onemask.editors.encodable import encodable
from onemask.io.batching import Work
from onemask.io.problems import Problems
from onemask.io.progress import Progress
from onemask.measuring.key_energy import by_layer
from onemask.model.models import load_checkpoint

ADVICE = (
    "common_energy: what a tenth of the neurons holds of the subjects' normalised keys; cosine: mean between two subjects.\n"
    "One mask reverses edits that it has not seen where keys are shared: prefer layers of high common_energy in which editing "
    "still succeeds."
)


def compare_layers(location: str, path: str | None, device: str, dtype: str, skip_bad: bool = False) -> str:
    """The `key_energy` table of a checkpoint's layers as text, from one forward pass over the facts' prompts.

    path: a file of facts, None for the embedded ones. skip_bad: its records that cannot be used are left out.
    """
    problems = Problems(path or "the embedded facts", skip_bad)
    if path:
        facts = read_facts(path, problems)
        problems.settle(len(facts))
    else:
        embedded = SHIPPED / "config" / "datasets" / "embedded"
        facts = embedded_facts(embedded / "facts.csv", embedded / "relations.csv", seed=0)
    folder, info = locate(location)
    model = load_checkpoint(folder, info, device, dtype)
    facts = encodable(model, facts, problems)
    problems.settle(len(facts))
    table = by_layer(model, facts, Work(callback=Progress(facts["subject"].nunique(), "subjects")))
    shown = table[["layer", "common_energy", "cosine"]].to_string(index=False, float_format=lambda value: f"{value:.2f}")
    return f"{shown}\n{table['subjects'].iloc[0]} subjects. {ADVICE}"
