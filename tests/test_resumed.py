"""Every measurement takes up the batches that a killed run of it finished, and ends with the values of an unbroken one."""

from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import job
from conftest import FACTS
from onemask.io.batching import Journal
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
WINDOWS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
ONE = 1  # tokens a batch: each batch holds one fact


def look(measure):
    return lambda model, edits, journal: measure(model, FRAME, edits, states(model, edits), ONE, journal=journal)


def near(model, edits, journal):
    prompts, owners = neighbours(FRAME.assign(neighborhood=[["The capital is", "Lyon is in"]] * len(FRAME)), prompts=2)
    return reversal(model, prompts, edits, states(model, edits), ONE, owners, journal=journal)


def measured_perplexity(model, edits, journal):
    return perplexity.measure(model, WINDOWS, FRAME, edits, states(model, edits), journal)


def collapse(model, edits, journal):
    return perplexity.collapse(model, WINDOWS, FRAME["case_id"].to_numpy(), edits, states(model, edits), 2, 1, journal)


def pruned_perplexity(model, edits, journal):
    activation, cuts = torch.arange(float(model.d_mlp)), perplexity.cut_windows(model, edits.layer, WINDOWS)

    def pruned(group):
        return pruning.states_of(model, edits[group].alone, activation, [0.25])

    return pd.DataFrame(perplexity.nll_by_edit(model, cuts, WINDOWS, pruned, len(FRAME), journal))


MEASUREMENTS = {
    "knowledge": lambda model, edits, journal: knowledge(model, FRAME.assign(split="test"), ONE, journal),
    "reversal": look(reversal),
    "neighborhood": near,
    "decomposition": look(decomposition.measure),
    "activations": look(activations.measure),
    "attention": look(attention.measure),
    "patching": look(patching.measure),
    "update_magnitude": lambda model, edits, journal: by_edit(FRAME, edits, some_mask(model), journal),
    "key_energy": lambda model, edits, journal: by_layer(model, FRAME, journal),
    "perplexity": measured_perplexity,
    "collapse": collapse,
    "pruning_perplexity": pruned_perplexity,
}


class Watched(Journal):
    """Counts the batches that it is given; kills the job behind the second where it is told to."""

    def __init__(self, folder, kills=False):
        super().__init__(folder, "this run")
        object.__setattr__(self, "given", [])
        object.__setattr__(self, "kills", kills)

    def write(self, batch, tensors):
        super().write(batch, tensors)
        self.given.append(batch)
        if self.kills and len(self.given) == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", MEASUREMENTS)
def test_a_killed_measurement_goes_on_with_the_next_batch(model, tmp_path, monkeypatch, name):
    monkeypatch.setattr("onemask.measuring.key_energy.BATCH_TOKENS", ONE)
    measure, edits = MEASUREMENTS[name], LayerEdits(some_edits(model))
    unbroken = Watched(tmp_path / "unbroken")
    expected = measure(model, edits, unbroken)
    killed, resumed = Watched(tmp_path / "killed", kills=True), Watched(tmp_path / "killed")
    with pytest.raises(KeyboardInterrupt):
        measure(model, edits, killed)
    found = measure(model, edits, resumed)
    assert len(unbroken.given) > 2 and killed.given + resumed.given == unbroken.given
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
