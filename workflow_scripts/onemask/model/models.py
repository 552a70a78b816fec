"""Model families, one row each, and the loaded model with its parts by name."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from onemask.io.errors import OnemaskError, reason
from onemask.io.files import sha256

if TYPE_CHECKING:
    from transformers import PreTrainedModel  # loading it takes seconds


@dataclass(frozen=True)
class Family:
    """Where an architecture keeps its parts. Paths are attributes of the causal LM; block parts are relative to a block.

    `transposed` says that the edited matrix is stored as (d_mlp, d_model), as GPT-2's Conv1D does; `norm_centres` that the
    final norm subtracts the mean (LayerNorm, not RMSNorm); `norm_eps` is the name of its epsilon; `windows` that blocks may
    attend to a sliding window, as the config's `layer_types` say.
    """

    blocks: str
    attention: str
    mlp: str
    matrix: str
    mlp_norm: str
    final_norm: str
    embed: str
    pos_embed: str | None
    rotary: str | None
    transposed: bool
    norm_centres: bool
    norm_eps: str
    windows: bool = False


_LLAMA = Family(
    blocks="model.layers",
    attention="self_attn",
    mlp="mlp",
    matrix="mlp.down_proj",
    mlp_norm="post_attention_layernorm",
    final_norm="model.norm",
    embed="model.embed_tokens",
    pos_embed=None,
    rotary="model.rotary_emb",
    transposed=False,
    norm_centres=False,
    norm_eps="variance_epsilon",
)

FAMILIES = {
    "gpt2": Family(
        blocks="transformer.h",
        attention="attn",
        mlp="mlp",
        matrix="mlp.c_proj",
        mlp_norm="ln_2",
        final_norm="transformer.ln_f",
        embed="transformer.wte",
        pos_embed="transformer.wpe",
        rotary=None,
        transposed=True,
        norm_centres=True,
        norm_eps="eps",
    ),
    "llama": _LLAMA,
    "qwen2": replace(_LLAMA, windows=True),
}

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


def identity(folder: Path, name: str, source: str, revision: str, family: str) -> dict:
    """Who a checkpoint is, for provenance: name, id, revision, family, and the sha256 of each file of weights."""
    hashes = {file.name: sha256(file) for file in sorted(folder.glob("*.safetensors"))}
    return {"name": name, "id": source, "revision": revision, "family": family, "sha256": hashes}


def family_of(folder: Path, name: str) -> str:
    """The family that a checkpoint's config names. name: how the user knows the folder.

    Raises OnemaskError when config, tokenizer or weights are missing (pickled ones do not count: reading them may run code), or
    the family is not known.
    """
    for part in ("config.json", "tokenizer.json", "*.safetensors"):
        if not any(file.is_file() for file in folder.glob(part)):
            expected = "a model folder with config.json, tokenizer.json and *.safetensors"
            advice = "Correct the path, or save the model anew; pickled weights (.bin, .pt) are refused."
            raise OnemaskError(expected, f"no {part} in {name}", advice)
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (KeyError, TypeError, ValueError) as error:
        raise OnemaskError(f"a model_type in config.json of {name}", reason(error), "Fetch or save the model again.") from error
    if kind not in list(FAMILIES):
        raise OnemaskError(f"a model of the families {', '.join(FAMILIES)}", f"{kind} in {name}", "Take another model.")
    return kind


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
    """Load a Hugging Face checkpoint; info: as `identity` gives it. dtype "auto" is that of the stored weights.

    Code that came with the checkpoint is never run.

    Raises OnemaskError when a part or a weight is missing, damaged or not finite, or torch has no such device.
    """
    family = family_of(folder, str(folder))
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
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
        if not torch.isfinite(parameter.sum()):
            raise OnemaskError("finite weights", f"NaN or infinity in {name} of {folder}", "Fetch or save the model again.")
    return Model(network, tokenizer, family, info)


def require_context(model: Model, length: int) -> None:
    """Raise OnemaskError where a text of so many tokens exceeds the model's context."""
    if length > model.n_ctx:
        raise OnemaskError(f"texts of at most {model.n_ctx} tokens, the model's context", f"{length}", "Shorten the prompts.")
