"""Sizes of a model, as its file under config/models states them: held against the checkpoint, made into an empty model."""

from pathlib import Path

from onemask.io.errors import OnemaskError

# ours: transformers' (GPT-2 answers to these names too, but calls the width of its MLP n_inner, None for 4 d_model)
NAMES = {
    "layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "d_mlp": "intermediate_size",
    "heads": "num_attention_heads",
    "key_heads": "num_key_value_heads",
    "vocabulary": "vocab_size",
    "tied": "tie_word_embeddings",
}


def shape_of(config) -> dict:
    """The key `shape` of a model's file, from a configuration of transformers."""
    shape: dict = {ours: getattr(config, theirs, None) for ours, theirs in NAMES.items()}
    shape["d_mlp"] = shape["d_mlp"] or getattr(config, "n_inner", None) or 4 * shape["d_model"]
    shape["key_heads"] = shape["key_heads"] or shape["heads"]
    return shape


def check_shape(folder: Path, shape: dict, name: str) -> None:
    """OnemaskError when a checkpoint's folder holds a model of another shape than its file states."""
    from transformers import AutoConfig

    actual = shape_of(AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False))
    wrong = {key: value for key, value in actual.items() if shape[key] != value}
    if wrong:
        stated = ", ".join(f"{key}: {shape[key]}" for key in wrong)
        found = ", ".join(f"{key}: {value}" for key, value in wrong.items())
        raise OnemaskError(f"{stated}, as config/models/{name}.yaml states", found, "Correct `shape` or the source.")


def empty_model(family: str, shape: dict, dtype: str = "float32"):
    """A network of a family and shape on the meta device: every size, no memory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {theirs: shape[ours] for ours, theirs in NAMES.items()}
    if family == "gpt2":
        sizes["n_inner"] = sizes.pop("intermediate_size")
        del sizes["num_key_value_heads"]
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **sizes), dtype=getattr(torch, dtype))
