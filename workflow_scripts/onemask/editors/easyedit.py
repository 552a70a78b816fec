"""ROME and MEMIT by EasyEdit's own code (onemask.editors.easyedit_adapter), behind the door of every editor."""

import torch
from jaxtyping import Float
from torch import Tensor

from onemask.editors import easyedit_adapter as easyeditor
from onemask.editors import memit, rome
from onemask.editors.base import Edited, Task, without_failed
from onemask.editors.registry import listed, of_easyedit
from onemask.io.batching import run_batches
from onemask.io.errors import OnemaskError
from onemask.model.edits import FactoredEdits


def _traces(traces: list[list[float]], steps: int) -> Float[Tensor, "facts steps"]:
    padded = torch.full((len(traces), steps), torch.nan)
    for row, trace in zip(padded, traces, strict=True):
        row[: len(trace)] = torch.tensor(trace)
    return padded


def _rome(task: Task, settings: rome.Settings, location: str | None) -> Edited:
    moment = task.moments[settings.layer].matrix if settings.mom2_adjustment else None

    def compute(group: list[int]) -> dict[str, Tensor]:
        factors, trace = easyeditor.rome_factors(task.model, task.facts[group[0]], task.templates, settings, moment, location)
        return {"u": factors.u, "r": factors.r, "trace": _traces([trace], settings.steps)}

    parts = run_batches([[i] for i in range(len(task.facts))], compute, task.work)
    edits = FactoredEdits(settings.layer, parts["u"][:, None], parts["r"][:, None])
    return _edited([edits], parts["trace"])


def _memit(task: Task, settings: memit.Settings, location: str | None) -> Edited:
    moments = {layer: moment.matrix for layer, moment in task.moments.items()}
    layers, traces = easyeditor.memit_factors(task.model, task.facts, task.templates, settings, moments, location)
    task.work.callback(len(task.facts))
    return _edited([FactoredEdits(p.layer, p.u[:, None], p.r[:, None]) for p in layers], _traces(traces, settings.steps))


def _edited(layers: list[FactoredEdits], trace: Float[Tensor, "facts steps"]) -> Edited:
    """EasyEdit says nothing of |delta|: NaN."""
    finite = [torch.isfinite(factor).flatten(1).all(1) for part in layers for factor in (part.u, part.r)]
    failed = ~torch.stack(finite).all(0)
    kept = [FactoredEdits(part.layer, *without_failed(failed, part.u, part.r)) for part in layers]
    return Edited(kept, trace, torch.full((len(trace),), torch.nan), failed)


def edit(task: Task, method: str, settings: rome.Settings | memit.Settings, location: str | None) -> Edited:
    """Edit with `rome` one fact at a time, or with `memit` all at once; location: a checkout's path or None for the wheel.

    Raises OnemaskError for another method, or when EasyEdit or something it imports is missing.
    """
    if method not in of_easyedit():
        raise OnemaskError(
            f"{listed(of_easyedit(), 'or')}, which EasyEdit can run here", method, "Leave it out, or set editor: onemask."
        )
    return _rome(task, settings, location) if isinstance(settings, rome.Settings) else _memit(task, settings, location)
