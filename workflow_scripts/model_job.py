"""What the scripts share that run a model or read its edits: their inputs by name, and work that survives a kill.

Import its parts by name: a rule's hash of the code covers those that its script imports, and no others.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from torch import Tensor

import job
from onemask.data.corpus import windows
from onemask.data.schemas import CORPUS, FACTS
from onemask.editors.base import Task
from onemask.editors.schemas import TEMPLATES
from onemask.editors.second_moment import read_second_moments
from onemask.editors.tables import join_facts, layer_edits, read_edits
from onemask.editors.templates import choose
from onemask.io.batching import Journal, Work
from onemask.io.files import read_table
from onemask.masking.masks import Mask, read_mask
from onemask.model.edits import LayerEdits
from onemask.model.models import Model, load_model


def load(smk) -> Model:
    """The job's model."""
    return load_model(smk.input.model, smk.params.device, smk.params.dtype)


@dataclass(frozen=True)
class Inputs:
    """What a rule's inputs `model`, `edits`, `facts` and `mask` hold, each read once, as soon as it is asked for."""

    smk: Any

    @cached_property
    def model(self) -> Model:
        return load(self.smk)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The `edits` table without failed edits."""
        paths = self.smk.input.edits
        return read_edits([paths] if isinstance(paths, str) else paths)

    @cached_property
    def facts(self) -> pd.DataFrame:
        """The facts of the edits, in their order."""
        return join_facts(read_table(self.smk.input.facts, FACTS), self.table)

    @cached_property
    def edits(self) -> LayerEdits:
        """On the model's device, where the rule has one."""
        return layer_edits(self.table, self.model if self._has_model else None)

    @cached_property
    def mask(self) -> Mask:
        return read_mask(self.smk.input.mask, self.model if self._has_model else None, self.edits)

    @property
    def _has_model(self) -> bool:
        return "model" in self.smk.input.keys()


def perplexity_windows(smk, model: Model) -> Tensor:
    """Windows of the rule's corpus on which perplexity is measured."""
    corpus = read_table(smk.input.corpus, CORPUS)
    return windows(model.tokenizer, corpus, "perplexity", smk.params.tokens, smk.params.window)


def working(smk, source: dict, total: int, what: str) -> Work:
    """How a job works through `total` facts: a killed one is taken up again by one of the same provenance and input files.

    what: the word for them in the log.
    """
    journal = Journal.beside(smk.output[0], [source, job.input_hashes(smk)])
    return Work(smk.params.get("batch_tokens", Work.batch_tokens), journal, job.Progress(total, what))


def editing_task(smk, model: Model, facts: pd.DataFrame, work: Work) -> Task:
    """The facts to edit, with the templates and second moments of the job's method."""
    templates = choose(read_table(smk.input.templates, TEMPLATES), smk.params.settings.get("templates", []))
    moments = read_second_moments(smk.input.moments, model, smk.params.layers)
    return Task(model, facts.to_dict("records"), templates, moments, work)
