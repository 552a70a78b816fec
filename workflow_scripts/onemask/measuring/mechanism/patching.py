"""Is it attention that keeps an edit up? The later layers' outputs of the edited model are replaced by the original model's.

At the last prompt position, attention is the only way by which what an edit wrote at the subject can arrive. If replacing the
attention outputs of the later layers brings the original fact back and replacing the MLP outputs does not, attention is the
mechanism, as the paper infers from contributions.
"""

import contextlib
import itertools
from collections.abc import Callable, Generator

import pandas as pd
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from onemask.io.batching import IN_MEMORY, Work, run_batches
from onemask.measuring.mechanism.decomposition import OBJECTS
from onemask.measuring.schemas import PATCHING
from onemask.measuring.states import State, in_state
from onemask.model.edits import LayerEdits
from onemask.model.forward import causal_mask, embed, last, logits_at, run_blocks
from onemask.model.models import Model
from onemask.model.scoring import fact_batches, first_tokens
from onemask.model.tokens import Padded, pad, prompt_ids

SCHEMA = PATCHING

COMPONENTS = {"attention": ("attention",), "mlp": ("mlp",), "both": ("attention", "mlp")}
Stream = Float[Tensor, "rows length d_model"]
Outputs = dict[tuple[str, int], Float[Tensor, "rows d_model"]]  # by component and layer, at the last position


@contextlib.contextmanager
def hooked(model: Model, parts: tuple[str, ...], hook: Callable[[str, int, Stream], Stream]) -> Generator[None, None, None]:
    """Within the block `hook(component, layer, output)` sees and replaces outputs of `parts`."""

    def attach(part: str, layer: int):
        def run(module, args, output):
            first, *rest = output if isinstance(output, tuple) else (output,)
            changed = hook(part, layer, first)
            return (changed, *rest) if isinstance(output, tuple) else changed

        return model.block(layer).get_submodule(getattr(model.family, part)).register_forward_hook(run)

    hooks = [attach(part, layer) for part in parts for layer in range(model.n_layers)]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


class Run:
    """One batch of prompts: forward passes over some of the layers, with outputs recorded or replaced at the last position."""

    def __init__(self, model: Model, tokens: Padded):
        self.model, self.ids, self.lengths = model, tokens.ids.to(model.device), tokens.lengths.to(model.device)
        self.mask = causal_mask(self.lengths, self.ids.shape[1])
        self.positions = torch.arange(self.ids.shape[1], device=model.device)[None]
        self.rows = torch.arange(len(self.ids), device=model.device)

    def blocks(self, hidden: Stream, layers: range) -> Stream:
        return run_blocks(self.model, hidden, layers, self.mask, self.positions)

    def streams(self) -> list[Stream]:
        """Residual stream before each layer and behind the last."""
        streams = [embed(self.model, self.ids)]
        for layer in range(self.model.n_layers):
            streams.append(self.blocks(streams[-1], range(layer, layer + 1)))
        return streams

    def recorded(self) -> tuple[Outputs, Stream]:
        """Outputs of every attention and MLP, and the stream behind the last layer."""
        outputs: Outputs = {}

        def keep(part: str, layer: int, output: Stream) -> Stream:
            outputs[part, layer] = last(output, self.lengths)
            return output

        with hooked(self.model, ("attention", "mlp"), keep):
            end = self.blocks(embed(self.model, self.ids), range(self.model.n_layers))
        return outputs, end

    def replaced(self, hidden: Stream, first: int, parts: tuple[str, ...], outputs: Outputs) -> Stream:
        """Stream behind the last layer, from the one before layer `first`, with `outputs` in place of the layers' own."""

        def put(part: str, layer: int, output: Stream) -> Stream:
            changed = output.clone()
            changed[self.rows, self.lengths - 1] = outputs[part, layer]
            return changed

        with hooked(self.model, parts, put):
            return self.blocks(hidden, range(first, self.model.n_layers))

    def log_probs(self, end: Stream) -> Float[Tensor, "rows d_vocab"]:
        """Log-probabilities at the last position."""
        return logits_at(self.model, last(end, self.lengths)).log_softmax(-1)


@torch.inference_mode()
def measure(
    model: Model,
    facts: pd.DataFrame,
    edits: LayerEdits,
    states: list[State],
    work: Work = IN_MEMORY,
) -> pd.DataFrame:
    """The `patching` table of the state "edited": every component, from each layer behind the edited ones on, and nowhere."""
    (edited,) = (state for state in states if state.name == "edited")

    def compute(group: list[int]) -> dict[str, Tensor]:
        return _patch_batch(model, facts.iloc[group], edits, edited[group])

    columns = run_batches(fact_batches(model, facts, work.batch_tokens), compute, work)
    places = list(itertools.product(COMPONENTS, range(edits.layer + 1, model.n_layers + 1)))
    who = facts[["case_id", "relation_id"]]
    frames = [
        who.assign(component=component, first_layer=first, **{name: values[:, at].numpy() for name, values in columns.items()})
        for at, (component, first) in enumerate(places)
    ]
    return pd.concat(frames, ignore_index=True)


def _patch_batch(
    model: Model, facts: pd.DataFrame, edits: LayerEdits, edited: State
) -> dict[str, Shaped[Tensor, "facts places"]]:
    """Columns of the `patching` table, by component and first layer."""
    run = Run(model, pad(prompt_ids(model.tokenizer, facts)))
    outputs, end = run.recorded()
    original = run.log_probs(end).argmax(-1)
    tokens = {name: first_tokens(model, facts, column) for name, column in OBJECTS.items()}
    by_place = []
    with in_state(model, edits, edited):
        before = run.streams()
        for parts in COMPONENTS.values():
            for first in range(edits.layer + 1, model.n_layers + 1):
                log_probs = run.log_probs(run.replaced(before[first], first, parts, outputs))
                read = {f"logp_{name}_first": log_probs.gather(1, ids[:, None])[:, 0] for name, ids in tokens.items()}
                columns = {name: values.double().cpu() for name, values in read.items()}
                by_place.append(columns | {"top1": (log_probs.argmax(-1) == original).cpu()})
    return {name: torch.stack([columns[name] for columns in by_place], dim=1) for name in by_place[0]}
