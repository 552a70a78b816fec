"""Artefacts: written whole or not at all, equal bytes for equal content, and refused in one line when damaged."""

import contextlib
import errno
import os
import resource
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file

from onemask import schemas
from onemask.errors import OnemaskError
from onemask.files import read_provenance, read_table, read_tables, replacing, sha256, write_table, write_text
from onemask.masks import Mask, masks_of_states, random_mask, read_mask, structure, write_mask

KNOWLEDGE = {
    "case_id": 3,
    "relation_id": "P17",
    "split": "test",
    "logp_true": -1.5,
    "logp_new": -2.25,
    "known": True,
}
ROWS = [KNOWLEDGE | {"case_id": case, "known": case % 2 == 0} for case in range(5)]
EDIT = {name: 1.0 for name in schemas.TABLES["edits"].names} | {
    "case_id": 0,
    "relation_id": "P1",
    "layer": 2,
    "steps": 4,
    "u": np.arange(3, dtype=np.float32),
    "r": np.ones(2, dtype=np.float32),
}


def table_file(folder: Path) -> Path:
    path = folder / "knowledge.parquet"
    write_table(path, "knowledge", ROWS, {"rule": "score", "seed": 7})
    return path


def a_mask(rows: int = 6, columns: int = 10) -> Mask:
    generator = torch.Generator().manual_seed(0)
    theta = torch.randn(rows, columns, generator=generator)
    return Mask(2, theta > -0.5, theta)


def mask_file(folder: Path) -> Path:
    path = folder / "mask.safetensors"
    write_mask(path, a_mask(), {"seed": 7})
    return path


def write_big_table(path: Path) -> None:
    write_table(path, "corpus", [{"part": "both", "title": "t", "text": str(np.random.default_rng(0).random(9999))}], {})


def write_big_edits(path: Path) -> None:
    row = EDIT | {"u": np.random.default_rng(0).random(9999).astype(np.float32)}
    write_table(path, "edits", [row], {})


def write_big_text(path: Path) -> None:
    write_text(path, "x" * 9999)


def write_big_mask(path: Path) -> None:
    write_mask(path, a_mask(100, 100), {})


WRITERS = [write_big_edits, write_big_text, write_big_mask]


def raising(code: int):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


@contextlib.contextmanager
def no_room(size: int = 1000):
    """Within the block, the system refuses to make any file longer than `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_table_comes_back_with_its_provenance(tmp_path):
    path = table_file(tmp_path / "new" / "folder")
    pd.testing.assert_frame_equal(read_table(path, "knowledge"), pd.DataFrame(ROWS), check_dtype=False)
    expected = {"rule": "score", "seed": 7, "schema": "knowledge", "schema_version": schemas.VERSION}
    assert read_provenance(path) == expected


def test_vectors_and_texts_come_back(tmp_path):
    write_table(tmp_path / "edits.parquet", "edits", [EDIT], {})
    row = read_table(tmp_path / "edits.parquet", "edits").iloc[0]
    np.testing.assert_array_equal(row["u"], EDIT["u"])
    assert row["u"].dtype == np.float32
    fact = {name: "x" for name in schemas.TABLES["facts"].names}
    fact |= {"case_id": 1, "paraphrases": ["a", "é"], "neighborhood": []}
    write_table(tmp_path / "facts.parquet", "facts", [fact], {})
    row = read_table(tmp_path / "facts.parquet", "facts").iloc[0]
    assert (list(row["paraphrases"]), list(row["neighborhood"])) == (["a", "é"], [])


@pytest.mark.parametrize("name", sorted(schemas.TABLES))
def test_an_empty_table_keeps_its_schema(tmp_path, name):
    write_table(tmp_path / "t.parquet", name, [], {})
    assert list(read_table(tmp_path / "t.parquet", name).columns) == schemas.TABLES[name].names


def test_a_frame_is_written_in_the_schemas_order(tmp_path):
    frame = pd.DataFrame(ROWS)[list(reversed(KNOWLEDGE))]
    write_table(tmp_path / "t.parquet", "knowledge", frame, {"rule": "score", "seed": 7})
    assert sha256(tmp_path / "t.parquet") == sha256(table_file(tmp_path))


@pytest.mark.parametrize("write", [table_file, mask_file])
def test_equal_content_gives_equal_bytes(tmp_path, write):
    assert write(tmp_path / "one").read_bytes() == write(tmp_path / "two").read_bytes()


def test_several_files_are_read_in_the_order_given(tmp_path):
    for case in (2, 1):
        write_table(tmp_path / f"{case}.parquet", "knowledge", [KNOWLEDGE | {"case_id": case}], {})
    both = read_tables([tmp_path / "2.parquet", tmp_path / "1.parquet"], "knowledge")
    assert both["case_id"].tolist() == [2, 1]


@pytest.mark.parametrize(
    "rows, named",
    [
        (pd.DataFrame([KNOWLEDGE]).drop(columns="known"), "known"),
        (pd.DataFrame([KNOWLEDGE | {"extra": 1}]), "extra"),
        (pd.DataFrame([KNOWLEDGE]).rename(columns={"split": "part"}), "'part', 'split'"),
        ([KNOWLEDGE | {"case_id": "one"}], "case_id"),
        ([KNOWLEDGE | {"case_id": 1.5}], "case_id"),
        ([KNOWLEDGE | {"case_id": 2**70}], "schema knowledge"),
        ([KNOWLEDGE | {"logp_true": [1.0]}], "logp_true"),
        ([KNOWLEDGE | {"relation_id": 17}], "relation_id"),
        ([KNOWLEDGE | {"known": "maybe"}], "known"),
    ],
)
def test_rows_of_another_shape_are_refused(tmp_path, rows, named):
    with pytest.raises(OnemaskError, match="schema knowledge") as caught:
        write_table(tmp_path / "t.parquet", "knowledge", rows, {})
    assert named in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kept", [0, 3, 4, 100, 0.5, -1, -8])
def test_a_truncated_table_is_refused(tmp_path, kept):
    path = table_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(OnemaskError, match="Delete the file and run again"):
        read_table(path, "knowledge")


@pytest.mark.parametrize("back", [1, 4, 5, 8])
def test_a_flipped_bit_in_the_parquet_tail_is_refused(tmp_path, back):
    path = table_file(tmp_path)
    content = bytearray(path.read_bytes())
    content[-back] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(OnemaskError, match=f"a whole Parquet file at {path}"):
        read_table(path, "knowledge")


@pytest.mark.parametrize("bit", [4, 7])
def test_a_flipped_bit_anywhere_in_the_footer_is_refused_or_harmless(tmp_path, bit):
    path = table_file(tmp_path)
    whole, expected = path.read_bytes(), read_table(path, "knowledge")
    footer = int.from_bytes(whole[-8:-4], "little")
    wrong = []
    for place in range(len(whole) - 8 - footer, len(whole) - 8):
        content = bytearray(whole)
        content[place] ^= 1 << bit
        path.write_bytes(content)
        try:
            if not read_table(path, "knowledge").equals(expected):
                wrong.append((place, "read as something else"))
        except OnemaskError:
            pass
        except Exception as error:
            wrong.append((place, type(error).__name__))
    assert wrong == []


@pytest.mark.parametrize(
    "columns, named",
    [
        (schemas.TABLES["corpus"].names, "columns part, title, text"),
        (list(reversed(schemas.TABLES["knowledge"].names)), "columns known"),
    ],
)
def test_another_schema_is_refused(tmp_path, columns, named):
    pq.write_table(pa.table({name: ["x"] for name in columns}), tmp_path / "t.parquet")
    with pytest.raises(OnemaskError, match="schema knowledge") as caught:
        read_table(tmp_path / "t.parquet", "knowledge")
    assert named in str(caught.value)


def test_the_same_columns_of_other_types_are_refused(tmp_path):
    pq.write_table(pa.table({name: ["x"] for name in KNOWLEDGE}), tmp_path / "t.parquet")
    with pytest.raises(OnemaskError, match="schema knowledge"):
        read_table(tmp_path / "t.parquet", "knowledge")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(OnemaskError, match="no-such.parquet"):
        read_table(tmp_path / "no-such.parquet", "knowledge")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OnemaskError, match="Free the space or mend the permissions"):
        write_text(tmp_path / "file" / "a.txt", "text")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OnemaskError])
def test_a_writer_that_fails_midway_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("half")
        raise error("a", "b", "c")
    assert (os.listdir(tmp_path), path.read_text()) == (["a.txt"], "old")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("owner, function", [(os, "replace"), (tempfile, "mkstemp"), (Path, "mkdir")])
def test_a_full_or_read_only_folder_gives_one_line(tmp_path, monkeypatch, owner, function, code):
    monkeypatch.setattr(owner, function, raising(code))
    with pytest.raises(OnemaskError, match=os.strerror(code)) as caught:
        write_text(tmp_path / "a.txt", "text")
    monkeypatch.undo()
    assert str(tmp_path / "a.txt") in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("write", WRITERS)
def test_a_disk_that_fills_while_writing_leaves_nothing(tmp_path, write):
    with no_room(), pytest.raises(OnemaskError, match="Free the space"):
        write(tmp_path / "big.parquet")
    assert os.listdir(tmp_path) == []


def test_written_files_have_the_usual_permissions(tmp_path):
    write_text(tmp_path / "a.txt", "text")
    (tmp_path / "b.txt").write_text("text")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_a_mask_comes_back(tmp_path):
    mask = read_mask(mask_file(tmp_path), SimpleNamespace(d_model=6, d_mlp=10))
    assert torch.equal(mask.keep, a_mask().keep) and mask.keep.dtype == torch.bool
    assert torch.equal(mask.theta, a_mask().theta)
    assert (mask.layer, mask.provenance) == (2, {"layer": 2, "seed": 7})


@pytest.mark.parametrize("kept", [0, 4, 60, 300, -1])
def test_a_truncated_mask_is_refused(tmp_path, kept):
    path = mask_file(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(OnemaskError, match=f"a whole mask file at {path}"):
        read_mask(path)


@pytest.mark.parametrize("tensors", [("theta",), ("keep",), ("keep", "theta")])
def test_safetensors_that_are_no_mask_are_refused(tmp_path, tensors):
    save_file({name: torch.ones(2, 2) for name in tensors}, tmp_path / "mask.safetensors")
    with pytest.raises(OnemaskError, match="a whole mask file"):
        read_mask(tmp_path / "mask.safetensors")


def test_a_missing_mask_is_refused(tmp_path):
    with pytest.raises(OnemaskError, match="no-such.safetensors"):
        read_mask(tmp_path / "no-such.safetensors")


@pytest.mark.parametrize("d_model, d_mlp", [(10, 6), (6, 11), (5, 10)])
def test_a_mask_of_another_model_is_refused(tmp_path, d_model, d_mlp):
    with pytest.raises(OnemaskError, match="Use the model that it was trained for") as caught:
        read_mask(mask_file(tmp_path), SimpleNamespace(d_model=d_model, d_mlp=d_mlp))
    assert str((d_model, d_mlp)) in str(caught.value) and "(6, 10)" in str(caught.value)


@pytest.mark.parametrize("removed", [0, 1, 17, 60])
def test_a_random_mask_removes_as_many_weights(removed):
    keep = (torch.arange(60) >= removed).view(6, 10)
    control = random_mask(keep, 3)
    assert (control.shape, control.dtype) == (keep.shape, torch.bool)
    assert int((~control).sum()) == removed


def test_a_random_mask_follows_its_seed():
    keep = torch.arange(1000).view(20, 50) >= 300
    assert torch.equal(random_mask(keep, 1), random_mask(keep, 1))
    assert not torch.equal(random_mask(keep, 1), random_mask(keep, 2))
    overlap = int((~random_mask(keep, 1) & ~keep).sum())
    assert 60 < overlap < 120  # 90 expected where 300 of 1,000 are drawn uniformly


def test_the_controls_stand_beside_the_mask():
    mask = a_mask()
    states = masks_of_states(mask, 0)
    assert list(states) == ["shared", "random", "layer_zeroed"]
    assert torch.equal(states["shared"], mask.keep)
    assert int(states["random"].sum()) == int(mask.keep.sum())
    assert not states["layer_zeroed"].any()


def test_the_pruned_share_of_rows_and_whole():
    mask = Mask(0, torch.tensor([[True, False, False, True], [True, True, True, True]]), torch.zeros(2, 4))
    assert mask.pruned == 0.25
    assert structure(mask).to_dict("list") == {"dimension": [0, 1], "pruned": [0.5, 0.0]}
