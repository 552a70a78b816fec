"""The loaded model with its parts by name."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onemask.io.errors import OnemaskError, reason
from onemask.model.checkpoints import judge, tensors
from onemask.model.families import FAMILIES

if TYPE_CHECKING:
    from transformers import PreTrainedModel  # loading it takes seconds


MKL_FUNCTIONS = "acos asin atan cos erf erfc erfinv exp log log10 log2 sin sqrt tan tanh".split()


def resolve_kernels() -> None:
    """Call each elementwise function that torch leaves to MKL once, on one thread.

    A function's first call chooses its kernel. Where several threads make that call (torch 2.13 with MKL 2024.2), one of them
    now and then computes its part to four digits, and the same job has other bytes (pytorch issue 188792).
    """
    for dtype in (torch.float32, torch.float64):
        for name in MKL_FUNCTIONS:
            getattr(torch, name)(torch.full((1,), 0.5, dtype=dtype))


class Model:
    """A frozen causal language model, its tokenizer and its parts.

    Attributes: `blocks` (ModuleList), `final_norm`, `embed`, `pos_embed` (or None), `unembed` (no bias), `n_layers`, `d_model`,
    `d_mlp`, `windows` (of each layer, None for full attention), `info` (identity for provenance: name, id, revision, sha256).
    """

    def __init__(self, network: "PreTrainedModel", tokenizer, family: str, info: dict | None = None):
        if family not in FAMILIES:
            raise OnemaskError(f"a family out of {sorted(FAMILIES)}", repr(family), "Correct `family` in the model's file.")
        resolve_kernels()
        self.network = network.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.family = FAMILIES[family]
        self.info = info or {}
        self.blocks: nn.ModuleList = network.get_submodule(self.family.blocks)
        self.final_norm = network.get_submodule(self.family.final_norm)
        self.embed: nn.Embedding = network.get_submodule(self.family.embed)
        self.pos_embed: nn.Embedding | None = network.get_submodule(self.family.pos_embed) if self.family.pos_embed else None
        self.rotary = network.get_submodule(self.family.rotary) if self.family.rotary else None
        self.unembed: nn.Linear = network.get_output_embeddings()
        self.n_layers = len(self.blocks)
        self.d_model, self.d_mlp = self.weight(0).shape
        self.windows = _windows(network.config, self.n_layers) if self.family.windows else [None] * self.n_layers

    @property
    def n_ctx(self) -> int:
        """Positions that the model can be run on."""
        return self.network.config.max_position_embeddings

    @property
    def device(self) -> torch.device:
        return self.embed.weight.device

    def block(self, layer: int) -> nn.Module:
        """A transformer block by its number; OnemaskError when the model has none of that number."""
        if not 0 <= layer < self.n_layers:
            raise OnemaskError(f"a layer in 0..{self.n_layers - 1}", str(layer), "Correct the layer.")
        return self.blocks[layer]

    def matrix(self, layer: int) -> nn.Module:
        """The module that holds W of a layer (the MLP's second matrix)."""
        return self.block(layer).get_submodule(self.family.matrix)

    def weight(self, layer: int) -> Float[Tensor, "d_model d_mlp"]:
        """W of a layer as a view, however it is stored."""
        weight = cast(Tensor, self.matrix(layer).weight)
        return weight.T if self.family.transposed else weight

    def bias(self, layer: int) -> Float[Tensor, " d_model"] | None:
        """Bias of the edited matrix."""
        return cast(Tensor | None, self.matrix(layer).bias)


def _windows(config, n_layers: int) -> list[int | None]:
    """Positions that each layer's queries see, None for all; OnemaskError where a layer attends in another way."""
    kinds = {"full_attention": None, "sliding_attention": config.sliding_window}
    unknown = sorted(set(config.layer_types) - set(kinds))
    if unknown or len(config.layer_types) != n_layers:
        expected = f"layer_types of {n_layers} layers, each one of {', '.join(kinds)}, in config.json"
        raise OnemaskError(expected, ", ".join(unknown) or f"{len(config.layer_types)}", "Take another model.")
    return [kinds[kind] for kind in config.layer_types]


def weights_type(dtype: str) -> str:
    """The type of the weights that the key `dtype` of a model's file asks for: "tf32" says how float32 is multiplied."""
    return "float32" if dtype == "tf32" else dtype


def load_model(folder: str | Path, device: str = "cpu", dtype: str = "float32") -> Model:
    """Load a model folder written by the assets stage: config, safetensors, tokenizer and `onemask.json`.

    dtype: as in a model's file; "tf32" holds for all float32 products of this process on a GPU, until the next model is loaded.

    Raises OnemaskError when a part or a weight is missing, damaged or not finite.
    """
    try:
        info = json.loads((Path(folder) / "onemask.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        advice = "Delete the folder and run again to fetch the model."
        raise OnemaskError(f"a model folder with onemask.json at {folder}", reason(error), advice) from error
    torch.backends.cuda.matmul.fp32_precision = "tf32" if dtype == "tf32" else "ieee"
    return load_checkpoint(Path(folder), info, device, weights_type(dtype))


def load_checkpoint(folder: Path, info: dict, device: str = "cpu", dtype: str = "auto") -> Model:
    """Load a Hugging Face checkpoint; info: as `identity` gives it. dtype "auto": the config's, or else the stored weights'.

    Code that came with the checkpoint is never run.

    Raises OnemaskError when a part or a weight is missing, damaged or not finite, or torch has no such device.
    """
    family = judge(folder, str(folder))
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        _require_stored(folder)
        network, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,  # left open, transformers would ask whether to run it
            ignore_mismatched_sizes=True,  # they are named below
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except OnemaskError:
        raise
    except Exception as error:  # transformers and tokenizers raise all kinds where a file is damaged
        raise OnemaskError(f"a whole checkpoint in {folder}", reason(error), "Fetch or save the model again.") from error
    missing = sorted(loading["missing_keys"] | {name for name, *_ in loading["mismatched_keys"]})
    if missing:
        expected = f"every weight of the model in {folder}, as large as its config says"
        raise OnemaskError(expected, f"none for {', '.join(missing[:3])}", "Fetch or save the model again.")
    try:
        network = network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise OnemaskError(f"the device {device!r}", reason(error), "Correct `device`, or free its memory.") from error
    for name, parameter in network.named_parameters():
        if parameter.numel() and not torch.isfinite(torch.stack(parameter.aminmax())).all():  # a sum may overflow float16
            raise OnemaskError("finite weights", f"NaN or infinity in {name} of {folder}", "Fetch or save the model again.")
    return Model(network, tokenizer, family, info)


def _require_stored(folder: Path) -> None:
    """Raise OnemaskError where a config asks for more numbers than are stored: a network of any size is made of a few digits."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):  # sizes, but no memory
        asked = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())
    stored = sum(math.prod(tensor.shape) for _, tensor in tensors(folder).values())
    if asked > stored:
        expected = f"every weight of the model in {folder}, as large as its config says ({asked:,} numbers)"
        raise OnemaskError(expected, f"{stored:,} numbers", "Fetch or save the model again.")


def require_context(model: Model, length: int) -> None:
    """Raise OnemaskError where a text of so many tokens exceeds the model's context."""
    if length > model.n_ctx:
        raise OnemaskError(f"texts of at most {model.n_ctx} tokens, the model's context", f"{length}", "Shorten the prompts.")
