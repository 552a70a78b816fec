"""Every measurement takes up the batches that a killed run of it finished, and ends with the values of an unbroken one."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import job
from conftest import FACTS
from onemask.io.batching import Journal, Work
from onemask.measuring import perplexity, pruning
from onemask.measuring.key_energy import by_layer
from onemask.measuring.mechanism import activations, attention, decomposition, patching
from onemask.measuring.reversal import neighbours, reversal
from onemask.measuring.update_magnitude import by_edit
from onemask.model.edits import LayerEdits
from onemask.model.scoring import knowledge
from test_algebra import some_edits, some_mask
from test_mechanism import states

FRAME = pd.DataFrame(FACTS)
CASES = FRAME["case_id"].to_numpy()
WINDOWS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])


def look(measure):
    return lambda model, edits, work: measure(model, FRAME, edits, states(model, edits), work)


def near(model, edits, work):
    prompts, owners = neighbours(FRAME.assign(neighborhood=[["The capital is", "Lyon is in"]] * len(FRAME)), prompts=2)
    return reversal(model, prompts, edits, states(model, edits), work, owners)


def measured_perplexity(model, edits, work):
    return perplexity.measure(model, WINDOWS, CASES, edits, states(model, edits), work)


def collapse(model, edits, work):
    return perplexity.collapse(model, WINDOWS, CASES, edits, states(model, edits), 2, 1, work)


def pruned(measure, *arguments):
    def run(model, edits, work):
        return measure(model, *arguments, edits, torch.arange(float(model.d_mlp)), [0.25], work)

    return run


MEASUREMENTS = {
    "knowledge": lambda model, edits, work: knowledge(model, FRAME.assign(split="test"), work),
    "reversal": look(reversal),
    "neighborhood": near,
    "decomposition": look(decomposition.measure),
    "activations": look(activations.measure),
    "attention": look(attention.measure),
    "patching": look(patching.measure),
    "update_magnitude": lambda model, edits, work: by_edit(FRAME, edits, some_mask(model), work),
    "key_energy": lambda model, edits, work: by_layer(model, FRAME, work),
    "perplexity": measured_perplexity,
    "collapse": collapse,
    "pruning": pruned(pruning.measure_reversal, FRAME),
    "pruning_perplexity": pruned(pruning.measure_perplexity, WINDOWS, CASES),
}


class Watched(Journal):
    """Counts the batches that it is given; kills the job behind the second where it is told to."""

    def __init__(self, folder, kills=False):
        super().__init__(folder, "this run")
        object.__setattr__(self, "written", [])
        object.__setattr__(self, "kills", kills)

    def write(self, batch, tensors):
        super().write(batch, tensors)
        self.written.append(batch)
        if self.kills and len(self.written) == 2:
            raise KeyboardInterrupt


def one_by_one(journal: Journal) -> Work:
    """Each batch holds one fact."""
    return Work(batch_tokens=1, journal=journal)


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_killed_measurement_goes_on_with_the_next_batch(model, tmp_path, name):
    measure, edits = MEASUREMENTS[name], LayerEdits(some_edits(model))
    unbroken = Watched(tmp_path / "unbroken")
    expected = measure(model, edits, one_by_one(unbroken))
    killed, resumed = Watched(tmp_path / "killed", kills=True), Watched(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        measure(model, edits, one_by_one(killed))
    found = measure(model, edits, one_by_one(resumed))
    assert len(unbroken.written) > 2 and killed.written + resumed.written == unbroken.written
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_job_takes_up_only_what_was_made_from_the_same_bytes(tmp_path):
    facts, folder = tmp_path / "facts.parquet", tmp_path / "model"
    facts.write_bytes(b"facts")
    folder.mkdir()
    smk = SimpleNamespace(input=[str(facts), str(folder)])

    def journal(source: dict) -> Journal:
        return Journal.beside(str(tmp_path / "reversal.parquet"), [source, job.input_hashes(smk)])

    with journal({"rule": "measure"}) as kept:
        kept.write([0], {"row": torch.zeros(1)})
        assert journal({"rule": "measure"}).read([0]) is not None
        assert journal({"rule": "other"}).read([0]) is None
        facts.write_bytes(b"others")
        assert journal({"rule": "measure"}).read([0]) is None
    assert not kept.folder.exists()


def test_a_job_that_fails_keeps_its_batches(tmp_path):
    journal = Journal(tmp_path / "batches", "x")
    with pytest.raises(KeyboardInterrupt), journal:
        journal.write([0], {"row": torch.zeros(1)})
        raise KeyboardInterrupt
    assert journal.read([0]) is not None
