"""A run as a whole: its file with every model's settings merged, and what follows from them. Rules, plan and commands ask here.

A method is named as in `methods` and `compare`; the study of layers adds names such as "rome-layer5" (`layer_methods`).
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onemask.config.settings import Corpora, Decomposition, Facts, Model, Perplexity, Pruning, Statistics, Studies
from onemask.data.splits import RELEASED_PER_RELATION, SPLITS, split_of
from onemask.editors.registry import EDITORS, Editor
from onemask.masking.names import MAIN, MaskPlan, of_share, plans, plans_of_shares
from onemask.masking.settings import MaskSettings


def largest_template_counts(wanted: Iterable[list[dict]]) -> list[dict]:
    """For each length the largest count that any of several methods wants, as in the key `templates`."""
    counts: dict[int, int] = {}
    for kind in (kind for method in wanted for kind in method):
        counts[kind["length"]] = max(kind["count"], counts.get(kind["length"], 0))
    return [{"length": length, "count": counts[length]} for length in sorted(counts)]


def moments_file(layers: list[int]) -> str:
    """Name of the file that has the second moments of some layers of a model, measured in one pass."""
    return f"{'-'.join(map(str, layers))}.safetensors"


@dataclass(frozen=True)
class Run:
    """A run's file. models: by name, merged; editing, mask: what the run's file overrides in them. sources: of each corpus."""

    run: str
    seed: int
    models: Mapping[str, Model]
    methods: tuple[str, ...]
    compare: tuple[str, ...]
    compare_per_relation: int | None
    facts_per_job: int
    editor: str
    easyeditor: str | None
    hub: str | None
    facts: Facts
    corpora: Corpora
    statistics: Statistics
    editing: Mapping[str, dict[str, Any]]
    mask: Mapping[str, Any]
    mask_by_method: Mapping[str, dict[str, Any]]
    mask_seeds: tuple[int, ...]
    perplexity: Perplexity
    figures: Mapping[str, dict[str, Any]]
    as_released: bool
    decomposition: Decomposition
    pruning: Pruning
    neighborhood_prompts: int
    studies: Studies
    scoring_batch_tokens: int
    sources: Mapping[str, dict[str, Any]]

    @property
    def folder(self) -> str:
        """Where the run's results lie."""
        return f"results/{self.run}"

    # methods

    @property
    def layer_methods(self) -> dict[int, str]:
        """The first method in each of the layers that studies.layers compares, as a method of its own, by layer."""
        return {layer: f"{self.methods[0]}-layer{layer}" for layer in self.studies.layers}

    def base(self, method: str) -> str:
        """The editor behind a method's name."""
        return self.methods[0] if method in self.layer_methods.values() else method

    def editor_of(self, method: str) -> Editor:
        """What is known of the editor behind a method's name."""
        return EDITORS[self.base(method)]

    def joint(self, method: str) -> bool:
        """Does the method make one edit of all facts?"""
        return self.editor_of(method).joint

    def of_kind(self, joint: bool) -> list[str]:
        """The masked methods that make one edit of all facts, or those that make one of each."""
        return [method for method in self.methods if self.joint(method) == joint]

    def editing_of(self, method: str, model: str) -> dict[str, Any]:
        """Settings of a method on a model."""
        layer = {name: layer for layer, name in self.layer_methods.items()}.get(method)
        return self.models[model].editing[self.base(method)] | ({} if layer is None else {"layer": layer})

    def edited_layers(self, method: str, model: str) -> list[int]:
        """Layers that a method edits in a model, the masked one last."""
        return self.editor_of(method).layers(self.editing_of(method, model))

    def moment_layers(self, method: str, model: str) -> list[int]:
        """Layers whose second moments a method needs on a model."""
        return self.editor_of(method).moment_layers(self.editing_of(method, model))

    def template_counts(self, model: str) -> list[dict]:
        """Templates that serve every method on a model."""
        return largest_template_counts(settings.get("templates", []) for settings in self.models[model].editing.values())

    def has_collapse(self, method: str) -> bool:
        """Is there a table 6 of the method?"""
        return bool(self.perplexity.worst) and not self.joint(method)

    def has_pruning(self, method: str) -> bool:
        """Is there a figure 14 of the method?"""
        return bool(self.pruning.shares) and not self.joint(method)

    # facts

    def per_relation(self, split: str) -> int:
        """Facts a relation in a split, before the model's knowledge is asked for."""
        used = RELEASED_PER_RELATION if self.facts.splits == "released" else {}
        return ({**used, **self.facts.per_relation}).get(split, 0)

    @property
    def splits(self) -> list[str]:
        """Splits of the run's facts."""
        if self.facts.splits == "released":
            return list(RELEASED_PER_RELATION)
        return [split for split in SPLITS if self.per_relation(split)]

    def relations_of(self, split: str) -> list[str]:
        """Relations of a split's facts."""
        return list(self.facts.ood_relations if SPLITS[split].role == "ood" else self.facts.relations)

    def splits_of(self, method: str) -> list[str]:
        """Splits of the facts that a method edits."""
        return [split for split in self.splits if SPLITS[split].joint == self.joint(method)]

    def train_split(self, method: str) -> str:
        """Split on whose edits the method's masks are trained."""
        return split_of("train", self.joint(method))

    def test_split(self, method: str) -> str:
        """Held-out facts of the same relations."""
        return split_of("test", self.joint(method))

    def splits_edited(self, method: str) -> list[str]:
        """Splits whose edits the table of editors shows: all of a masked method's, the test split of a compared one's."""
        return self.splits_of(method) if method in self.methods else [self.test_split(method)]

    def facts_limit(self, method: str, split: str) -> int | None:
        """Facts a relation that a method edits at most, None for all."""
        if method in self.methods:
            return None
        if method in self.compare:
            return self.studies.transfer_per_relation if SPLITS[split].role == "train" else self.compare_per_relation
        return self.studies.layers_per_relation

    def chunks(self, method: str, split: str) -> dict[str, list[list[str]]]:
        """Jobs that edit a split's facts by name: the relations of each, in groups whose facts are edited at a time.

        A joint edit is one group, and so are the few facts of a method that is only compared. Else a group is one relation, and
        the relations are dealt to jobs of about `facts_per_job` facts, in order.
        """
        relations = self.relations_of(split)
        if self.joint(method) or method not in self.methods:
            return {"all": [relations]}
        jobs = math.ceil(self.per_relation(split) * len(relations) / self.facts_per_job)
        jobs = min(max(jobs, 1), len(relations))
        bounds = [len(relations) * job // jobs for job in range(jobs + 1)]
        return {str(job): [[name] for name in relations[bounds[job] : bounds[job + 1]]] for job in range(jobs)}

    # masks

    def parametrisation(self, model: str) -> str:
        """That of a model's main mask."""
        return self.models[model].mask.parametrisation

    def study_masks(self, shares: Iterable[float]) -> list[str]:
        """Names of the masks of the run's own parametrisation at some shares, one list of all models'."""
        return sorted({of_share(self.parametrisation(model), share) for model in self.models for share in shares})

    def layer_mask(self, model: str) -> str:
        """Name of the mask that is trained in each layer of the study of layers."""
        return of_share(self.parametrisation(model), self.studies.layers_share)

    @functools.cached_property
    def masks(self) -> dict[str, MaskPlan]:
        """All masks of the run by name."""
        planned: dict[str, MaskPlan] = {}
        for own in map(self.parametrisation, self.models):
            planned |= plans_of_shares(own, [self.studies.layers_share]) | plans(self.studies, own, self.facts.relations)
        return planned

    def mask_plan(self, mask: str, method: str) -> MaskPlan:
        """How a method's mask is trained and measured, with the method's own settings."""
        planned = self.masks[mask]
        settings = {**self.mask_by_method.get(self.base(method), {}), **planned.settings}
        kind = "layers" if method in self.layer_methods.values() else "transfer" if method in self.compare else None
        if kind and (epochs := getattr(self.studies, f"{kind}_epochs")):
            settings["epochs"] = epochs
        return dataclasses.replace(planned, settings=settings)

    def row_key(self, model: str, method: str) -> dict[str, Any]:
        """What all rows of the table `measures` share that are of a method on a model; a study's layer is a column of its own."""
        layer = {name: layer for layer, name in self.layer_methods.items()}.get(method)
        return {"model": model, "method": self.base(method), "layer": layer}

    def mask_settings(self, model: str, method: str) -> MaskSettings:
        """Settings of a method's main mask on a model."""
        return dataclasses.replace(self.models[model].mask, **self.mask_by_method.get(method, {}))

    def common_mask_settings(self, model: str) -> dict[str, Any]:
        """The mask settings that all methods share on a model."""
        own = {key for settings in self.mask_by_method.values() for key in settings}
        return {key: value for key, value in dataclasses.asdict(self.models[model].mask).items() if key not in own}

    def splits_measured(self, method: str, mask: str) -> list[str]:
        """Splits on which a mask is measured: all on which the run's methods are, the test split in studies (and training, where
        the number of training edits is what differs)."""
        if mask == MAIN and method in self.methods:
            return self.splits_of(method)
        both = [self.train_split(method), self.test_split(method)]
        return both if self.masks[mask].training_edits else both[1:]

    def perplexity_edits(self, mask: str) -> int:
        """Test edits whose perplexity is measured under a mask."""
        return self.perplexity.edits if mask == MAIN else self.studies.perplexity_edits
