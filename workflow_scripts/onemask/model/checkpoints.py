"""A checkpoint's folder as files: can it be edited, where do its tensors lie, and which are they? Loads no network."""

import contextlib
import hashlib
import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path

from onemask.io.errors import OnemaskError, reason, shown
from onemask.io.safetensors_header import AGAIN, Stored, read_header, refuse_pointer
from onemask.model.families import FAMILIES, Family
from onemask.model.folder_advice import WEIGHTS, what_is_missing, without_names

INDEX = "model.safetensors.index.json"
# bytes of a JSON file, and of tokenizer.json: read, hostile ones take twenty times as much memory
LARGEST_JSON, LARGEST_TOKENIZER = 10_000_000, 100_000_000
# what transformers reads as well, where it is there
BESIDE = ("tokenizer_config.json", "generation_config.json", "special_tokens_map.json", "added_tokens.json")
LONGEST = 100  # letters of a model_type
PIECE = 1 << 24  # bytes read at once
TYPES = ("F64", "F32", "F16", "BF16")  # that an update can be added to
UNQUANTISED = "Quantised weights cannot be edited: take the unquantised checkpoint."
OTHER_SHARDS = re.compile(r"shard-\d+-model-\d+-of-\d+\.safetensors")  # which transformers would load instead


@contextlib.contextmanager
def reading(folder: Path | str) -> Generator[None, None, None]:
    """Within the block, a file or folder that the system does not let us read is an OnemaskError."""
    try:
        yield
    except OSError as error:
        advice = "Correct the path, or mend its permissions."
        raise OnemaskError(f"a folder that can be read at {shown(str(folder))}", reason(error), advice) from error


def read_json(path: Path, largest: int = LARGEST_JSON) -> dict:
    """A JSON object of a checkpoint; OnemaskError where it is too large to be one, a Git LFS pointer, or no object."""
    if (size := path.stat().st_size) > largest:
        raise OnemaskError(f"at most {largest:,} bytes in {path}", f"{size:,}", AGAIN)
    try:
        content = path.read_bytes()
        refuse_pointer(path, content)
        parsed = json.loads(content)
        if not isinstance(parsed, dict):
            raise ValueError(f"a {type(parsed).__name__}")
    except (ValueError, RecursionError) as error:
        raise OnemaskError(f"a JSON object in {path}", reason(error), AGAIN) from error
    return parsed


def family_of(config: dict, name: str) -> str:
    """The family of a checkpoint by its config. name: how the user knows the checkpoint.

    Raises OnemaskError where the weights are quantised, or other ones than we judge would be loaded, the model is no plain causal
    language model, or its family is not known.
    """
    for key in ("quantization_config", "compression_config"):
        if (quantisation := config.get(key)) is not None:
            how = quantisation.get("quant_method") if isinstance(quantisation, dict) else None
            raise _quantised(name, how if isinstance(how, str) else "unknown method")
    if config.get("transformers_weights") is not None:
        found = f"transformers_weights, which names another file, in config.json of {name}"
        raise OnemaskError(f"weights in {WEIGHTS}, or the files of its index", found, "Take the key out of config.json.")
    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind.isprintable() or len(kind) > LONGEST:
        raise OnemaskError(f"a model_type in config.json of {name}", shown(kind), AGAIN)
    if config.get("is_encoder_decoder") or isinstance(config.get("text_config"), dict):
        what = "an encoder and a decoder" if config.get("is_encoder_decoder") else "a language model within a larger one"
        raise OnemaskError("a causal language model", f"{what} ({kind}) in {name}", "Take another model.")
    if kind not in FAMILIES:
        raise OnemaskError(f"a model of the families {', '.join(FAMILIES)}", f"{kind} in {name}", "Take another model.")
    return kind


def _quantised(name: str, how: str) -> OnemaskError:
    return OnemaskError(f"weights as they were trained in {name}", f"quantised ones ({reason(ValueError(how))})", UNQUANTISED)


def refuse_adapter(files: set[str], name: str) -> None:
    """Raise OnemaskError where a checkpoint's files are an adapter's, a whole model's among them or not."""
    if "adapter_config.json" in files:
        advice = "Merge it into its model first (peft: merge_and_unload, then save_pretrained)."
        raise OnemaskError(f"a whole model in {name}", "an adapter (adapter_config.json)", advice)


def judge(folder: Path, name: str) -> str:
    """The family of a checkpoint that can be edited. name: how the user knows the folder.

    Raises OnemaskError when it is an adapter, lacks a part (pickled weights do not count: reading them may run code), cannot be
    read, or its config, its tokenizer or the header of a file of weights is not what it should be.
    """
    with reading(folder):
        files = {file.name for file in folder.iterdir()}
        refuse_adapter(files, name)
        if missing := what_is_missing(folder):
            part, advice = missing
            expected = "a model folder with config.json, tokenizer.json and *.safetensors"
            raise OnemaskError(expected, f"no {part} in {name}", advice)
        if others := sorted(filter(OTHER_SHARDS.fullmatch, files)):
            advice = "Delete them, or save the model again."
            raise OnemaskError(f"one copy of the weights in {name}", f"shards of another kind ({others[0]})", advice)
        config = read_json(folder / "config.json")
        family = family_of(config, name)
        if not isinstance(read_json(folder / "tokenizer.json", LARGEST_TOKENIZER).get("model"), dict):
            raise OnemaskError(f"a tokenizer in {folder / 'tokenizer.json'}", "no `model` in it", AGAIN)
        for beside in sorted(files & set(BESIDE)):
            if (folder / beside).is_file():
                read_json(folder / beside)
        found = tensors(folder)
        for layer in range(_layers(config)):
            stored_weight(found, FAMILIES[family], layer, name)
    return family


def _layers(config: dict) -> int:
    """The number of layers that a config states; 0 where it states none."""
    stated = (config.get(key) for key in ("num_hidden_layers", "n_layer"))
    return max((number for number in stated if type(number) is int), default=0)


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a checkpoint's weights: model.safetensors, or those of its index.

    Raises OnemaskError where there are none, the index names a file that is not in the folder, or names it by a path.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        others = sorted(file.name for file in folder.glob("*.safetensors"))
        raise OnemaskError(f"{WEIGHTS} or {INDEX} in {folder}", ", ".join(others[:3]) or "neither", without_names(others))
    mapped = read_json(folder / INDEX).get("weight_map")
    if not isinstance(mapped, dict) or not mapped or not all(isinstance(file, str) for file in mapped.values()):
        raise OnemaskError(f"a weight_map of names of files in {folder / INDEX}", "none", AGAIN)
    names = sorted(set(mapped.values()))
    for name in names:
        if name != Path(name).name or name in ("", ".", "..") or not name.isprintable():
            raise OnemaskError(f"files of the folder itself in {folder / INDEX}", shown(name), "Do not trust this checkpoint.")
        if not (folder / name).is_file():
            raise OnemaskError(f"{name}, which {INDEX} names, in {folder}", "no such file", AGAIN)
    return [folder / name for name in names]


def tensors(folder: Path) -> dict[str, tuple[Path, Stored]]:
    """Every tensor of a checkpoint by its name, with the file that holds it; OnemaskError where one stands in two files."""
    found: dict[str, tuple[Path, Stored]] = {}
    for path in weight_files(folder):
        for tensor in read_header(path):
            if tensor.name in found:
                held = f"in {found[tensor.name][0].name} and {path.name}"
                raise OnemaskError(f"{shown(tensor.name)} once in {folder}", held, AGAIN)
            found[tensor.name] = path, tensor
    return found


def stored_weight(found: dict[str, tuple[Path, Stored]], family: Family, layer: int, name: str) -> tuple[Path, Stored]:
    """Where W of a layer lies, in a causal language model's checkpoint or its base model's, whose names lack a beginning.

    found: as `tensors` gives it. Raises OnemaskError where W is not there, there twice, or quantised.
    """
    whole = f"{family.blocks}.{layer}.{family.matrix}."
    modules = whole, whole.partition(".")[2]
    known = [found[f"{module}weight"] for module in modules if f"{module}weight" in found]
    # only where W is not there: for each of many layers, a search among all their tensors would take minutes
    parts = [] if known else sorted(tensor.rpartition(".")[2] for tensor in found if tensor.startswith(modules))
    if set(parts) - {"bias"}:
        raise _quantised(name, ", ".join(parts))
    if len(known) != 1:
        found_instead = "two of them" if known else "no such tensor"
        raise OnemaskError(f"{whole}weight in {name}", found_instead, "Correct the layer, or save the model again.")
    ((path, tensor),) = known
    if tensor.dtype not in TYPES:
        raise OnemaskError(f"{tensor.name} of type {', '.join(TYPES)}", f"{tensor.dtype} in {path}", UNQUANTISED)
    return path, tensor


def pieces(path: Path, start: int, size: int) -> Iterator[bytes]:
    """Some bytes of a file, a part at a time."""
    with open(path, "rb") as file:
        file.seek(start)
        while size > 0 and (part := file.read(min(PIECE, size))):
            yield part
            size -= len(part)


def digest_of_weights(folder: Path) -> str:
    """SHA-256 over names, types, shapes and bytes of all tensors: the same for the same weights, however they are sharded.

    A base model's file, whose names lack the part before the first dot, counts as another.
    """
    each = []
    for name, (path, tensor) in sorted(tensors(folder).items()):
        hashed = hashlib.sha256()
        for part in pieces(path, tensor.start, tensor.size):
            hashed.update(part)
        each.append([name, tensor.dtype, tensor.shape, hashed.hexdigest()])
    return hashlib.sha256(json.dumps(each).encode()).hexdigest()


def identity(folder: Path, name: str, source: str, revision: str, family: str) -> dict:
    """Who a checkpoint is, for provenance: name, id, revision, family, and the sha256 of its weights (`digest_of_weights`)."""
    return {"name": name, "id": source, "revision": revision, "family": family, "sha256": digest_of_weights(folder)}
