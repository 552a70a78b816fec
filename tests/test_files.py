"""Artefacts: written whole or not at all, equal bytes for equal content, damage found when read."""

import errno
import os

import numpy as np
import pandas as pd
import pytest
import torch

from onemask.io import files
from onemask.io.errors import OnemaskError
from onemask.masking import masks
from onemask.masking.masks import Mask
from onemask.masking.schemas import MASK_STRUCTURE
from onemask.measuring.schemas import PERPLEXITY

ROWS = pd.DataFrame({"case_id": [1, 2], "state": ["edited", "shared"], "nll": [1.5, 2.5], "tokens": [10, 10]})
SOURCE = {"seed": 3}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "perplexity.parquet"
    files.write_table(path, PERPLEXITY, ROWS, SOURCE)
    return path


def test_what_is_written_is_read(path):
    pd.testing.assert_frame_equal(files.read_table(path, PERPLEXITY), ROWS)
    assert files.read_provenance(path) == {"seed": 3, "schema": "perplexity"}


def test_equal_rows_make_equal_bytes(path):
    before = path.read_bytes()
    files.write_table(path, PERPLEXITY, ROWS, SOURCE)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "rows", [ROWS.drop(columns="nll"), ROWS.assign(more=1), ROWS.assign(nll="much"), ROWS.assign(tokens=1.5)]
)
def test_rows_of_another_schema_are_refused_and_leave_nothing(tmp_path, rows):
    with pytest.raises(OnemaskError, match="perplexity"):
        files.write_table(tmp_path / "new.parquet", PERPLEXITY, rows, SOURCE)
    assert list(tmp_path.iterdir()) == []


def test_a_writer_that_fails_leaves_the_old_file(path):
    before = path.read_bytes()
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.pq, "write_table", lambda *_, **__: full())
    with pytest.raises(OnemaskError, match="No space left.*Free the space"):
        files.write_table(tmp_path / "new.parquet", PERPLEXITY, ROWS, SOURCE)
    assert list(tmp_path.iterdir()) == []


class Shape:
    d_model, d_mlp = 4, 7


@pytest.fixture
def mask_path(tmp_path):
    theta = torch.linspace(-1, 1, 24).view(4, 6)
    masks.write_mask(tmp_path / "mask.safetensors", Mask(2, theta > -0.5, theta), SOURCE)
    return tmp_path / "mask.safetensors"


def test_a_mask_is_read_as_written(mask_path):
    mask = masks.read_mask(mask_path)
    assert mask.layer == 2 and mask.provenance["seed"] == 3
    assert torch.equal(mask.keep, mask.theta > -0.5)
    assert mask.pruned == pytest.approx(float((mask.theta <= -0.5).float().mean()))


def test_a_mask_of_the_wrong_shape_is_refused(mask_path):
    with pytest.raises(OnemaskError, match=r"shape \(4, 7\); found \(4, 6\)"):
        masks.read_mask(mask_path, Shape())


def test_a_random_mask_removes_as_many_weights_elsewhere():
    keep = torch.ones(30, 40, dtype=torch.bool)
    keep[:3] = False
    first, again, other = (masks.random_mask(keep, seed) for seed in (0, 0, 1))
    assert int((~first).sum()) == int((~keep).sum()) == 120
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first, keep)


def test_structure_is_by_output_dimension_and_holds_the_mask_in_a_bit_a_weight(tmp_path):
    keep = masks.random_mask(torch.arange(8192) > 512, 0).view(2, 4096)
    files.write_table(tmp_path / "s.parquet", MASK_STRUCTURE, masks.structure(Mask(0, keep, torch.zeros(2, 4096))), {})
    table = files.read_table(tmp_path / "s.parquet", MASK_STRUCTURE)
    assert table["pruned"].tolist() == pytest.approx((1 - keep.double().mean(1)).tolist())
    assert (np.stack(table["keep"]) == keep.numpy()).all()
    assert (tmp_path / "s.parquet").stat().st_size < 8192 / 8 + 3000


def test_a_file_where_the_folder_should_be_is_said(tmp_path):
    (tmp_path / "results").write_text("in the way")
    with pytest.raises(OnemaskError, match="to write .*new.parquet"):
        files.write_table(tmp_path / "results" / "new.parquet", PERPLEXITY, ROWS, SOURCE)
