"""What a folder lacks to be a checkpoint, and what to do about just that."""

from pathlib import Path

WEIGHTS = "model.safetensors"
AGAIN = "Correct the path, or save the model anew."
# what a training keeps beside its weights
NO_WEIGHTS = ("training_args", "optimizer", "scheduler", "scaler", "rng_state")
_TRUSTED = "Do so where you trust it: pickled weights (.bin, .pt) are refused, since reading them may run code."
_OF_TRANSFORMERS = (
    "transformers makes safetensors of it: AutoModelForCausalLM.from_pretrained(folder, dtype='auto').save_pretrained(other), "
    f"and AutoTokenizer likewise. {_TRUSTED}"
)
_OF_TORCH = (
    f"Its tensors, where they bear the names that transformers gives them: safetensors.torch.save_file(torch.load('{{}}', "
    f"weights_only=True, map_location='cpu'), '{WEIGHTS}'). {_TRUSTED}"
)
_OF_PIPELINE = (
    "onemask makes safetensors of it, as of its demo's model: onemask.data.assets.dequantise(Path('{}'), Path('other')). The "
    "weights stay as they were rounded, so better take the checkpoint that it was made of."
)
_EXPORTED = "That is exported for another program and cannot be edited: take the checkpoint that it was made of."
_OF_OTHERS = "Take the same model's safetensors, or convert it by transformers 4: from_pretrained(folder, from_{}=True)."
RECIPES = {
    **dict.fromkeys((".bin",), _OF_TRANSFORMERS),
    **dict.fromkeys((".pt", ".pth", ".ckpt"), _OF_TORCH),
    ".gguf": _OF_PIPELINE,
    ".h5": _OF_OTHERS.format("tf"),
    ".msgpack": _OF_OTHERS.format("flax"),
    **dict.fromkeys((".onnx", ".tflite", ".mlmodel", ".ot", ".llamafile", ".engine"), _EXPORTED),
}


def what_is_missing(folder: Path) -> tuple[str, str] | None:
    """The first part that is not there, and advice; None where all are."""
    weights = any(file.is_file() for file in folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file():
        if weights or _within(folder) or not _others(folder):
            return "config.json", _without_config(folder)
        return "*.safetensors and config.json", _without_weights(folder)
    if not weights:
        return "*.safetensors", _without_weights(folder)
    if not (folder / "tokenizer.json").is_file():
        return "tokenizer.json", _without_tokenizer(folder)
    return None


def without_names(others: list[str]) -> str:
    """Advice where there are safetensors, but none of the names that transformers looks for."""
    if len(others) == 1 and "-of-" not in others[0]:
        return f"Where {others[0]} is the whole model, name it {WEIGHTS}."
    return f"Put {WEIGHTS}.index.json, which says what lies in which file, beside them, or save the model anew."


def _within(folder: Path) -> list[Path]:
    """Checkpoints inside a folder, the newest last: a training's, or snapshots of a hub's cache."""
    found = [path.parent for pattern in ("*/config.json", "snapshots/*/config.json") for path in folder.glob(pattern)]
    steps = [path for path in folder.glob("checkpoint-*") if path.is_dir()]
    return sorted({*found, *steps}, key=lambda path: (_step(path.name), path.stat().st_mtime))


def _step(name: str) -> int:
    step = name.removeprefix("checkpoint-")
    return int(step) if step != name and step.isdecimal() else 0


def _others(folder: Path) -> list[str]:
    """Names of files that hold weights in another way than safetensors."""
    names = sorted(file.name for file in folder.iterdir() if file.suffix.lower() in RECIPES)
    return [name for name in names if not name.startswith(NO_WEIGHTS)]


def _without_config(folder: Path) -> str:
    inside = _within(folder)
    if any(path.name.startswith("checkpoint-") for path in inside):
        return f"It holds checkpoints of a training: take one of them, such as {inside[-1]}."
    if inside:
        return f"A checkpoint lies within it: take {inside[-1]}."
    return AGAIN


def _without_weights(folder: Path) -> str:
    others = _others(folder)
    if not others:
        return AGAIN
    return f"It has {others[0]}. {RECIPES[Path(others[0]).suffix.lower()].format(others[0])}"


def _without_tokenizer(folder: Path) -> str:
    if any((folder / name).is_file() for name in ("vocab.json", "tokenizer.model", "vocab.txt")):
        recipe = "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) of transformers"
        return f"It has the vocabulary of a slow tokenizer: {recipe} makes tokenizer.json of it."
    return "Put tokenizer.json and tokenizer_config.json of the base model beside the weights."
