"""What a folder lacks to be a checkpoint, and what to do about just that."""

from pathlib import Path

OTHER_WEIGHTS = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf", ".onnx")
SAVE = "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(other) of transformers writes safetensors"


def what_is_missing(folder: Path) -> tuple[str, str] | None:
    """The first part that is not there, and advice; None where all are."""
    if not (folder / "config.json").is_file():
        return "config.json", _without_config(folder)
    if not any(file.is_file() for file in folder.glob("*.safetensors")):
        return "*.safetensors", _without_weights(folder)
    if not (folder / "tokenizer.json").is_file():
        return "tokenizer.json", _without_tokenizer(folder)
    return None


def _without_config(folder: Path) -> str:
    steps = [path for path in folder.glob("checkpoint-*") if path.is_dir()]
    if steps:
        newest = max(steps, key=lambda path: int("".join(filter(str.isdigit, path.name)) or 0))
        return f"It holds checkpoints of a training: take one of them, such as {newest}."
    return "Correct the path, or save the model anew."


def _without_weights(folder: Path) -> str:
    others = sorted(file.name for file in folder.iterdir() if file.suffix in OTHER_WEIGHTS)
    if not others:
        return "Correct the path, or save the model anew."
    if others[0].endswith(".gguf"):
        return f"{others[0]} is quantised, or a copy for another program: take the checkpoint that it was made of."
    trusted = "where you trust it: pickled weights (.bin, .pt) are refused, since reading them may run code"
    return f"It has {others[0]}: {SAVE}, {trusted}."


def _without_tokenizer(folder: Path) -> str:
    if any((folder / name).is_file() for name in ("vocab.json", "tokenizer.model", "vocab.txt")):
        recipe = "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) of transformers"
        return f"It has the vocabulary of a slow tokenizer: {recipe} makes tokenizer.json of it."
    return "Put tokenizer.json and tokenizer_config.json of the base model beside the weights."
