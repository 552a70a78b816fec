"""Checkpoints as files: what is edited and nothing else, whose weights they are, and hostile ones that nothing is loaded of."""

import hashlib
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from onemask.commands.places import locate
from onemask.io.errors import OnemaskError
from onemask.io.safetensors_header import DIMENSIONS, LARGEST, read_header
from onemask.model.checkpoints import INDEX, WEIGHTS, digest_of_weights, judge, reading, stored_weight, weight_files
from onemask.model.edited_files import write_edited
from onemask.model.edits import FactoredEdits
from onemask.model.families import FAMILIES

WIDTH, WIDTH_MLP = 5, 7
W = {"gpt2": "transformer.h.{}.mlp.c_proj.weight", "llama": "model.layers.{}.mlp.down_proj.weight"}
SHAPE = {"gpt2": (WIDTH_MLP, WIDTH), "llama": (WIDTH, WIDTH_MLP)}


def folder_with(place: Path, family: str, tensors: dict[str, torch.Tensor], shards: int = 1) -> Path:
    """A checkpoint's files, of which only the weights mean anything."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.json").write_text(json.dumps({"model_type": family}))
    (place / "tokenizer.json").write_text('{"model": {}}')
    if shards == 1:
        save_file(tensors, place / WEIGHTS, {"format": "pt"})
        return place
    names, weight_map = sorted(tensors), {}
    for shard in range(shards):
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, place / f"model-{shard}.safetensors", {"format": "pt"})
        weight_map |= dict.fromkeys(part, f"model-{shard}.safetensors")
    (place / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return place


def some_tensors(family: str, dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {W[family].format(layer): SHAPE[family] for layer in (0, 1)} | {"lm_head.weight": (9, WIDTH), "v_head.bias": (1,)}
    tensors = {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    return tensors | {"norm.weight": torch.randn(WIDTH, generator=generator), "position_ids": torch.arange(4)}


def some_edits(layer: int, facts: int = 2, rank: int = 1, size: float = 1.0) -> FactoredEdits:
    generator = torch.Generator().manual_seed(7 + layer)
    u, r = (torch.randn(facts, rank, width, generator=generator) for width in (WIDTH_MLP, WIDTH))
    return FactoredEdits(layer, u, size * r)


def raw(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Tensors of a file byte by byte, read by hand."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    return {
        name: (entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])])
        for name, entry in header.items()
        if name != "__metadata__"
    }


DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.float64])
# what else a checkpoint may hold: of any type and shape, none of it a language model's
EXTRAS = st.dictionaries(
    st.text(min_size=1, max_size=9).filter(lambda name: name != "__metadata__").map("extra.".__add__),
    st.builds(
        lambda dtype, shape: torch.ones(shape).to(dtype),
        st.sampled_from([torch.float32, torch.bfloat16, torch.int8, torch.bool, torch.float8_e4m3fn, torch.int64]),
        st.lists(st.integers(0, 3), max_size=3),
    ),
    max_size=3,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    family=st.sampled_from(list(W)),
    dtype=DTYPES,
    others=DTYPES,
    extras=EXTRAS,
    tied=st.booleans(),
    shards=st.integers(1, 3),
    facts=st.integers(1, 4),
    rank=st.integers(1, 3),
    layers=st.sampled_from([(0,), (1,), (0, 1)]),
    base=st.booleans(),
    seed=st.integers(0, 99),
)
def test_only_the_edited_weights_change_and_to_the_sum(
    tmp_path_factory, family, dtype, others, extras, tied, shards, facts, rank, layers, base, seed
):
    """In whatever type and shard they are stored, of a causal model or a base model; every other byte stays."""
    place = tmp_path_factory.mktemp("checkpoint")
    tensors = some_tensors(family, dtype, seed)
    tensors |= {"norm.weight": tensors["norm.weight"].to(others)} | extras
    if tied:  # the head is the embedding, which is stored elsewhere
        tensors["embed.weight"] = tensors.pop("lm_head.weight")
    if base:  # as a base model names them
        tensors = {name.removeprefix("transformer.").removeprefix("model."): part for name, part in tensors.items()}
    folder, out = folder_with(place / "given", family, tensors, shards), place / "out"
    out.mkdir()
    edits = [some_edits(layer, facts, rank) for layer in layers]
    assert write_edited(folder, out, family, edits) == []
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in folder.iterdir())
    for path in weight_files(folder):
        before, after = raw(path), raw(out / path.name)
        assert list(before) == list(after)
        changed = {name for name in before if before[name] != after[name]}
        assert changed <= {name for name in tensors for layer in layers if f".{layer}.mlp" in f".{name}"}
        assert path.read_bytes()[:8] == (out / path.name).read_bytes()[:8]
    written = {name: part for path in weight_files(out) for name, part in load_file(path).items()}
    for part in edits:
        (name,) = [name for name in tensors if f".{part.layer}.mlp" in f".{name}" and not name.startswith("extra")]
        update = part.sum().double().numpy()
        exact = tensors[name].double().numpy() + (update.T if family == "gpt2" else update)
        one_step = torch.finfo(dtype).eps if dtype != torch.float64 else 1e-6
        np.testing.assert_allclose(written[name].double().numpy(), exact, rtol=one_step, atol=2e-6)


def test_a_checkpoint_whose_config_names_another_type_keeps_its_own(tmp_path):
    folder = folder_with(tmp_path / "given", "llama", some_tensors("llama", torch.float32))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "dtype": "bfloat16"}))
    (tmp_path / "out").mkdir()
    write_edited(folder, tmp_path / "out", "llama", [some_edits(1)])
    assert {part.dtype for name, part in load_file(tmp_path / "out" / WEIGHTS).items() if "weight" in name} == {torch.float32}
    assert (tmp_path / "out" / "config.json").read_bytes() == (folder / "config.json").read_bytes()


@pytest.mark.parametrize(
    "dtype, edits, message",
    [
        (torch.float16, some_edits(1, size=1e6), "finite weights of type F16; found NaN or infinity in model.layers.1"),
        (torch.float32, some_edits(5), "model.layers.5.mlp.down_proj.weight in .*; found no such tensor"),
        (torch.float8_e4m3fn, some_edits(1), "of type F64, F32, F16, BF16; found F8_E4M3"),
    ],
)
def test_what_cannot_be_added_is_refused(tmp_path, dtype, edits, message):
    folder = folder_with(tmp_path / "given", "llama", some_tensors("llama", dtype))
    (tmp_path / "out").mkdir()
    with pytest.raises(OnemaskError, match=message):
        write_edited(folder, tmp_path / "out", "llama", [edits])


def test_unedited_copies_code_and_links_out_of_the_folder_stay_behind(tmp_path):
    folder = folder_with(tmp_path / "given", "llama", some_tensors("llama"))
    unedited = [
        "MODEL.BIN",
        "consolidated.safetensors",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "rust_model.ot",
        INDEX,
    ]
    texts = ["LICENSE", "README.md", "chat_template.jinja", "generation_config.json", "vocab.bpe"]
    for name in (*unedited, *texts, "modeling.py", "tokenizer_config.json"):
        (folder / name).write_text("x")
    (folder / "onemask.json").write_text("{}")
    for name in ("original", ".cache", "additional_chat_templates"):
        (folder / name).mkdir()
        (folder / name / "tool_use.jinja").write_text("x")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "notes.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "same.md").symlink_to(folder / "README.md")
    out = tmp_path / "out"
    out.mkdir()
    left = write_edited(folder, out, "llama", [some_edits(0)])
    assert sorted(left) == sorted([*unedited, "modeling.py", "notes.txt", "original"])
    kept = {*texts, "config.json", "same.md", "tokenizer.json", "tokenizer_config.json", WEIGHTS, "tool_use.jinja"}
    copies = [path for path in out.rglob("*") if not path.is_dir()]
    assert {path.name for path in copies} == kept and not any(path.is_symlink() for path in copies)
    assert (out / "additional_chat_templates" / "tool_use.jinja").is_file()


def linked(folder: Path, place: Path, *names: str) -> None:
    """Files of a folder lie elsewhere, and links to them are in their place."""
    place.mkdir(parents=True)
    for name in names:
        (folder / name).rename(place / name)
        (folder / name).symlink_to(place / name)


def test_links_are_followed_where_the_weights_lie(tmp_path):
    """In a hub's cache or a site's store, the weights alone or all of it; a text that lies elsewhere may be anybody's."""
    for number, names in enumerate([(WEIGHTS,), ("tokenizer.json",), (WEIGHTS, "config.json", "tokenizer.json", "LICENSE")]):
        folder = folder_with(tmp_path / f"given{number}", "llama", some_tensors("llama"))
        (folder / "LICENSE").write_text("free")
        linked(folder, tmp_path / f"store{number}", *names)
        (tmp_path / "secret").mkdir(exist_ok=True)
        (folder / "notes.md").symlink_to(tmp_path / "secret" / "notes.md")
        (tmp_path / "secret" / "notes.md").write_text("secret")
        out = tmp_path / f"out{number}"
        out.mkdir()
        assert judge(folder, "given") == "llama"
        assert write_edited(folder, out, "llama", [some_edits(0)]) == ["notes.md"]
        assert {path.name for path in out.iterdir()} == {"LICENSE", "config.json", "tokenizer.json", WEIGHTS}


def test_a_link_that_nobody_reads_opens_no_place(tmp_path):
    """An index beside model.safetensors is not used: where it leads, other links may not lead as well."""
    folder = folder_with(tmp_path / "given", "llama", some_tensors("llama"))
    (tmp_path / "home").mkdir()
    for name in ("anything", "id_rsa"):
        (tmp_path / "home" / name).write_text("secret")
    (folder / INDEX).symlink_to(tmp_path / "home" / "anything")
    (folder / "LICENSE").symlink_to(tmp_path / "home" / "id_rsa")
    (tmp_path / "out").mkdir()
    assert write_edited(folder, tmp_path / "out", "llama", [some_edits(0)]) == ["LICENSE", INDEX]


def test_links_that_lead_in_a_circle_or_nowhere_stay_behind(tmp_path):
    folder = folder_with(tmp_path / "given", "llama", some_tensors("llama"))
    for name, target in (("itself.txt", "itself.txt"), ("one.md", "two.md"), ("two.md", "one.md"), ("nowhere.txt", "gone.txt")):
        (folder / name).symlink_to(target)
    (tmp_path / "out").mkdir()
    assert write_edited(folder, tmp_path / "out", "llama", [some_edits(0)]) == ["itself.txt", "nowhere.txt", "one.md", "two.md"]


class LookedUp(dict):
    """Tensors that are found by their names alone."""

    def __iter__(self):
        raise AssertionError("searched through")


def test_w_of_many_layers_is_not_searched_for_among_all_tensors(tmp_path):
    folder = folder_with(tmp_path / "given", "llama", some_tensors("llama"))
    found = LookedUp({tensor.name: (folder / WEIGHTS, tensor) for tensor in read_header(folder / WEIGHTS)})
    assert stored_weight(found, FAMILIES["llama"], 1, "given")[1].name == W["llama"].format(1)
    with pytest.raises(AssertionError):
        stored_weight(found, FAMILIES["llama"], 2, "given")


@pytest.mark.parametrize(
    "name, keys",
    [
        ("tokenizer.json", {"auths": {"registry": "secret"}}),
        ("config.json", {"auths": {"registry": "secret"}}),
    ],
)
def test_a_link_to_a_file_of_another_kind_is_refused(tmp_path, name, keys):
    folder = folder_with(tmp_path / "given", "llama", some_tensors("llama"))
    (tmp_path / "credentials.json").write_text(json.dumps(keys))
    (folder / name).unlink()
    (folder / name).symlink_to(tmp_path / "credentials.json")
    with pytest.raises(OnemaskError, match=name):
        judge(folder, "given")


def test_the_same_weights_in_other_shards_are_the_same_model(tmp_path):
    tensors = some_tensors("gpt2")
    one, three = (digest_of_weights(folder_with(tmp_path / str(count), "gpt2", tensors, count)) for count in (1, 3))
    assert one == three
    each = [
        [name, kind, list(shape), hashlib.sha256(data).hexdigest()]
        for name, (kind, shape, data) in sorted(raw(tmp_path / "1" / WEIGHTS).items())
    ]
    assert one == hashlib.sha256(json.dumps(each).encode()).hexdigest()
    others = [tensors | {"v_head.bias": torch.tensor([2.0])}, {"x": tensors["v_head.bias"]}, tensors | {"more": torch.ones(1)}]
    assert one not in [digest_of_weights(folder_with(tmp_path / f"o{i}", "gpt2", other)) for i, other in enumerate(others)]


def header(path: Path, content: object, data: bytes = bytes(8), length: int | None = None) -> None:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def entry(start: int, end: int, shape: object = (2,), dtype: str = "F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


LYING = {
    "bytes behind the file": ({"a": entry(0, 80, [20])}, "80 bytes of tensors"),
    "bytes that no tensor has": ({"a": entry(0, 4, [1])}, "4 bytes of tensors .*found 8"),
    "bytes of two tensors": ({"a": entry(0, 8), "b": entry(4, 8, [1])}, "'b' at byte 4, not 8"),
    "a hole": ({"a": entry(4, 8, [1])}, "'a' at byte 4, not 0"),
    "negative offsets": ({"a": entry(-8, 0)}, "no whole numbers from 0 on"),
    "an end before its start": ({"a": entry(8, 0)}, "has -8 bytes"),
    "a shape of millions of numbers": ({"a": entry(0, 8, [9] * 1_000_000)}, "'a' has 1,000,000 dimensions"),
    "one dimension too many": ({"a": entry(0, 8, [1] * (DIMENSIONS + 1))}, "'a' has 9 dimensions"),
    "a name of megabytes": ({"a" * 9_000_000: entry(4, 8, [1])}, "'a+...a+' at byte 4, not 0"),
    "a shape of more": ({"a": entry(0, 8, [3])}, "has 8 bytes"),
    "a shape beyond all numbers": ({"a": entry(0, 8, [2**62, 2**62])}, "has 8 bytes"),
    "a shape below nothing": ({"a": entry(0, 8, [-1, -2])}, "no whole numbers from 0 on"),
    "a shape of fractions": ({"a": entry(0, 8, [2.0])}, "no whole numbers"),
    "a shape of truth": ({"a": entry(0, 8, [True, 2])}, "no whole numbers"),
    "an unknown type": ({"a": entry(0, 8, dtype="F7")}, "found 'F7'"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [2]}}, "found 'data_offsets'"),
    "three offsets": ({"a": entry(0, 8) | {"data_offsets": [0, 4, 8]}}, "too many values"),
    "a list": ([1, 2], "a safetensors header"),
    "a name twice": (b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "a": 1}', "a name stands twice"),
    "deep brackets": (b"[" * 100_000, "a safetensors header"),
    "no JSON": (b"\xff\xfe{}", "a safetensors header"),
}


@pytest.mark.parametrize("lie", LYING)
def test_a_header_that_lies_is_refused(tmp_path, lie):
    content, message = LYING[lie]
    header(tmp_path / WEIGHTS, content)
    with pytest.raises(OnemaskError, match=message) as error:
        read_header(tmp_path / WEIGHTS)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("length", [2**63, 2**40, LARGEST + 1, 100])
def test_a_header_as_long_as_it_says_is_not_read(tmp_path, length):
    header(tmp_path / WEIGHTS, {}, length=length)
    with pytest.raises(OnemaskError, match=f"of which it says {length:,} are its header"):
        read_header(tmp_path / WEIGHTS)


def test_a_header_of_a_million_tensors_is_refused_at_once(tmp_path):
    names = ",".join(f'"{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for i in range(1_000_000))
    header(tmp_path / WEIGHTS, b"{" + names.encode() + b"}", b"")
    with pytest.raises(OnemaskError, match="its header at most 16,000,000 bytes"):
        read_header(tmp_path / WEIGHTS)


def mapped(folder: Path, **weight_map: object) -> None:
    (folder / WEIGHTS).rename(folder / "model-0.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def rewritten(folder: Path, name: str, tensor: torch.Tensor) -> None:
    """A tensor more, or another one; W of layer 1 goes where the name ends with a dot."""
    tensors = load_file(folder / WEIGHTS) | {name: tensor}
    if name.endswith("."):
        del tensors[name], tensors[f"{name}weight"]
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})


def within(folder: Path, place: str) -> None:
    files = list(folder.iterdir())
    (folder / place).mkdir(parents=True)
    for file in files:
        file.rename(folder / place / file.name)


SPOILT = {
    "a path in the index": (lambda at: mapped(at, a="../other.safetensors"), "files of the folder itself .*'../other"),
    "an absolute path in the index": (lambda at: mapped(at, a="/etc/passwd"), "files of the folder itself"),
    "a line break in the index": (lambda at: mapped(at, a="a\nall is well\x1b[2J"), r"the folder itself .*'a\\nall is well"),
    "a path of megabytes in the index": (lambda at: mapped(at, a="../" + "a" * 9_000_000), r"itself .*'\.\./a+\.\.\.a+'"),
    "a zero byte in the index": (lambda at: mapped(at, a="a\0b"), r"files of the folder itself .*'a\\x00b'"),
    "a model_type of megabytes": (
        lambda at: (at / "config.json").write_text(json.dumps({"model_type": "a" * 9_000_000})), r"found 'a+\.\.\.a+'",
    ),
    "a shard that is not there": (lambda at: mapped(at, a="model-1.safetensors"), "model-1.safetensors, which .* names"),
    "no names in the index": (lambda at: mapped(at, a=3), "a weight_map of names"),
    "an empty index": (lambda at: mapped(at), "a weight_map of names"),
    "shards without an index": (
        lambda at: (at / WEIGHTS).rename(at / "model-00001-of-00002.safetensors"), "Put model.safetensors.index.json, which",
    ),
    "a config of 100 MB": (lambda at: (at / "config.json").write_bytes(b" " * 100_000_000), "at most 10,000,000 bytes"),
    "a tokenizer's config of 100 MB": (
        lambda at: (at / "tokenizer_config.json").write_bytes(b" " * 100_000_000), "at most 10,000,000 bytes in .*zer_config",
    ),
    "a generation's config of brackets": (
        lambda at: (at / "generation_config.json").write_text("[" * 100_000), "a JSON object in .*generation_config.json",
    ),
    "added tokens in a list": (lambda at: (at / "added_tokens.json").write_text("[]"), "added_tokens.json; found a list"),
    "a config of brackets": (lambda at: (at / "config.json").write_text("[" * 100_000), "a JSON object in .*config.json"),
    "a config that is a pointer": (
        lambda at: (at / "config.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "a Git LFS pointer to it. Run `git lfs pull`",
    ),
    "weights that are a pointer": (
        lambda at: (at / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "a Git LFS pointer to it. Run `git lfs pull`",
    ),
    "no model_type": (lambda at: (at / "config.json").write_text("{}"), "a model_type in config.json of given; found None"),
    "an adapter beside a whole model": (lambda at: (at / "adapter_config.json").write_text("{}"), "an adapter .*Merge it"),
    "a training's folder": (
        lambda at: [(at / "config.json").unlink(), (at / "checkpoint-20").mkdir(), (at / "checkpoint-100").mkdir()],
        "checkpoints of a training: take one of them, such as .*checkpoint-100",
    ),
    "a slow tokenizer": (
        lambda at: [(at / "tokenizer.json").unlink(), (at / "vocab.json").write_text("{}")],
        "no tokenizer.json in given. It has the vocabulary of a slow tokenizer: AutoTokenizer",
    ),
    "no tokenizer": (lambda at: (at / "tokenizer.json").unlink(), "of the base model beside the weights"),
    "a tokenizer that is a pointer": (
        lambda at: (at / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
        "the file itself at .*tokenizer.json; found a Git LFS pointer",
    ),
    "shards that transformers would load instead": (
        lambda at: (at / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b""), "one copy of the weights in given",
    ),
    "fewer layers than the config says": (
        lambda at: (at / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 1000000000}'),
        "model.layers.2.mlp.down_proj.weight in given; found no such tensor",
    ),
    "W twice": (
        lambda at: rewritten(at, "layers.1.mlp.down_proj.weight", torch.ones(SHAPE["llama"])),
        "model.layers.1.mlp.down_proj.weight in given; found two of them",
    ),
    "packed weights that the config says nothing of": (
        lambda at: [rewritten(at, "model.layers.1.mlp.down_proj." + part, torch.ones(2)) for part in ("qweight", "scales", "")],
        r"quantised ones \(qweight, scales\). Quantised weights cannot be edited",
    ),
    "whole numbers for W": (
        lambda at: rewritten(at, W["llama"].format(0), torch.ones(SHAPE["llama"], dtype=torch.int8)),
        "of type F64, F32, F16, BF16; found I8 in .*Quantised weights cannot be edited",
    ),
    "a folder of the hub's cache": (
        lambda at: within(at, "snapshots/0123"), "no config.json in given. A checkpoint lies within it: take .*snapshots/0123",
    ),
    "a folder around it": (lambda at: within(at, "inner"), "A checkpoint lies within it: take .*given/inner"),
    "one file of another name": (lambda at: (at / WEIGHTS).rename(at / "b.safetensors"), "name it model.safetensors"),
    "GGUF alone": (
        lambda at: [(at / WEIGHTS).rename(at / "model.gguf"), (at / "config.json").unlink()],
        r"no .*safetensors and config.json in given. It has model.gguf. .*dequantise\(Path\('model.gguf'\)",
    ),
    "Flax's weights": (lambda at: (at / WEIGHTS).rename(at / "flax_model.msgpack"), "flax_model.msgpack. .*from_flax=True"),
    "weights for running": (lambda at: (at / WEIGHTS).rename(at / "model.onnx"), "It has model.onnx. That is exported"),
    "pickled weights and a training's state": (
        lambda at: [(at / WEIGHTS).rename(at / "pytorch_model.bin"), (at / "optimizer.pt").touch()], "It has pytorch_model.bin. ",
    ),
    "a named pipe for weights": (lambda at: [(at / WEIGHTS).unlink(), os.mkfifo(at / WEIGHTS)], r"no \*.safetensors in given"),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILT)
def test_a_folder_that_is_none_to_edit_is_refused_before_anything_is_loaded(tmp_path, how):
    folder = folder_with(tmp_path / "given", "llama", some_tensors("llama"))
    (folder / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 2}')
    assert judge(folder, "given") == "llama"
    spoil, message = SPOILT[how]
    spoil(folder)
    with pytest.raises(OnemaskError, match=message) as error:
        judge(folder, "given")
    assert len(str(error.value)) < 1000 and str(error.value).isprintable()


CONFIGS = {
    "gptq": ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"quantised ones \(gptq\).*take the unquantised"),
    "fp8": ({"quantization_config": {"quant_method": "fp8"}}, r"quantised ones \(fp8\)"),
    "an unknown method": ({"quantization_config": {"quant_method": "myquant"}}, r"quantised ones \(myquant\)"),
    "no method": ({"quantization_config": ["x"]}, r"quantised ones \(unknown method\)"),
    "an empty quantisation": ({"quantization_config": {}}, r"quantised ones \(unknown method\)"),
    "a method of several lines": ({"quantization_config": {"quant_method": "a\nb"}}, r"quantised ones \(a b\)"),
    "weights of another file": ({"transformers_weights": "other.safetensors"}, "found transformers_weights, which names another"),
    "compressed": ({"compression_config": {"quant_method": "compressed-tensors"}}, r"quantised ones \(compressed-tensors\)"),
    "two halves": ({"model_type": "t5", "is_encoder_decoder": True}, r"an encoder and a decoder \(t5\)"),
    "a part of a larger one": ({"model_type": "llava", "text_config": {"model_type": "llama"}}, "within a larger one .llava."),
    "another family": ({"model_type": "mistral"}, "families gpt2, llama, qwen2; found mistral"),
}


@pytest.mark.parametrize("how", CONFIGS)
def test_a_model_that_cannot_be_edited_is_refused_by_its_config(tmp_path, how):
    keys, message = CONFIGS[how]
    folder = folder_with(tmp_path / "given", "llama", some_tensors("llama"))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"} | keys))
    with pytest.raises(OnemaskError, match=message):
        locate(str(folder))


@pytest.mark.parametrize(
    "name, message",
    [
        ("models/smollm2", "no folder models/smollm2, and the hub, which was asked for it: "),
        ("smollm2-135m", "no folder smollm2-135m, and the hub, which was asked for it: "),
        ("a b c", "no folder a b c, and no such name"),
        ("./nowhere", "no folder ./nowhere, and no such name"),
        ("a/b/c", "no folder a/b/c, and no such name"),
        ("a" * 5000, "a folder that can be read at 'aaa.*File name too long"),
        (__file__, "found the file .*test_checkpoints.py. Give the folder"),
    ],
)
def test_a_missing_folder_is_called_one(monkeypatch, name, message):
    def refuses(repository):
        raise OnemaskError(f"{repository} on the hub", "no such repository", "Correct the name.")

    monkeypatch.setattr("onemask.commands.places.cached_hub", refuses)
    with pytest.raises(OnemaskError, match=message):
        locate(name)


def test_a_folder_that_the_system_does_not_let_us_read_is_named():
    with (
        pytest.raises(
            OnemaskError, match="a folder that can be read at 'given'; found .*Permission denied.*mend its permissions"
        ),
        reading("given"),
    ):
        raise PermissionError(13, "Permission denied")
