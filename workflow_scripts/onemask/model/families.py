"""Model families, one row each. Loads no torch: folders are judged by it before anything is loaded."""

from dataclasses import dataclass, replace


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
