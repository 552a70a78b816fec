"""What the files of config/ say, as types: a field for each key of a schema. The schemas describe, bound and default the keys."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onemask.masking.settings import MaskSettings


@dataclass(frozen=True)
class Facts:
    """Key `facts` of a run."""

    dataset: str
    path: str | None
    sha256: str | None
    splits: str
    released: str | None
    relations: tuple[str, ...]
    ood_relations: tuple[str, ...]
    per_relation: Mapping[str, int]
    only_known: bool
    skip_bad: bool
    only_stable: bool


@dataclass(frozen=True)
class Corpora:
    """Key `corpora` of a run."""

    statistics: str
    perplexity: str


@dataclass(frozen=True)
class Statistics:
    """Key `statistics` of a run."""

    tokens: int
    window: int
    batch_tokens: int


@dataclass(frozen=True)
class Perplexity:
    """Key `perplexity` of a run."""

    tokens: int
    window: int
    edits: int
    worst: int
    search_tokens: int


@dataclass(frozen=True)
class Decomposition:
    """Key `decomposition` of a run."""

    facts: int


@dataclass(frozen=True)
class Pruning:
    """Key `pruning` of a run."""

    shares: tuple[float, ...]
    facts: int


@dataclass(frozen=True)
class Studies:
    """Key `studies` of a run."""

    parametrisations: tuple[str, ...]
    shares: tuple[float, ...]
    pruning_shares: tuple[float, ...]
    perplexity_edits: int
    blocking_shares: tuple[float, ...]
    folds: int
    shuffled: bool
    training_edits: tuple[int, ...]
    layers: tuple[int, ...]
    layers_share: float
    layers_per_relation: int | None
    layers_epochs: int | None
    transfer: tuple[str, ...]
    transfer_per_relation: int | None
    transfer_epochs: int | None


@dataclass(frozen=True)
class Shape:
    """Key `shape` of a model."""

    layers: int
    d_model: int
    d_mlp: int
    heads: int
    key_heads: int
    vocabulary: int
    tied: bool


@dataclass(frozen=True)
class Model:
    """A model's file, with its settings merged: defaults, then the file's own, then the run's.

    editing: settings by method, with the keys of config/schemas/methods.schema.yaml, each of which has a value.
    """

    family: str
    label: str
    device: str
    dtype: str
    memory_mb: int
    shape: Shape | None
    source: Mapping[str, str]
    editing: Mapping[str, dict[str, Any]]
    mask: MaskSettings


def typed(kind: Any, content: Any) -> Any:
    """Checked content of YAML as a type: a dataclass of a mapping, a tuple of a list; None for a key that is not there."""
    if isinstance(kind, types.UnionType):
        kind, _ = typing.get_args(kind)  # the type, or None
        return None if content is None else typed(kind, content)
    if dataclasses.is_dataclass(kind) and not dataclasses.is_dataclass(content):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: typed(hints[field.name], content.get(field.name)) for field in dataclasses.fields(kind)})
    if typing.get_origin(kind) is tuple:
        return tuple(typed(typing.get_args(kind)[0], item) for item in content)
    return content
