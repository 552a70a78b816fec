"""Files that are damaged, foreign or do not fit together: refused by the rule that reads them, and nothing is written."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

import measure_mask_structure
import measure_update_magnitude
import summarise_perplexity
from faults import Ended, edits_table, refused, rule
from onemask.data.schemas import FACTS
from onemask.editors.schemas import EDITS
from onemask.io.errors import OnemaskError
from onemask.io.files import read_arrow, write_table
from onemask.io.tensor_files import Checkpoint, read_tensors, write_tensors
from onemask.masking.masks import Mask, write_mask
from onemask.measuring.schemas import PERPLEXITY

FINGERPRINT = "of this training"
WILDCARDS = {"model": "tiny", "method": "rome", "seed": "0"}
PERPLEXITY_ROWS = [{"case_id": case, "state": "edited", "nll": 1.5 * case, "tokens": 10} for case in range(20)]
FACT = {"relation_id": "P17", "subject": "Kyoto", "prompt": "{} is in", "target_true": "Japan", "target_new": "France"}
FACT_ROWS = [{"case_id": case, **FACT, "paraphrases": [], "neighborhood": []} for case in (1, 2)]
U, R = [float(i) for i in range(6)], [1.0, -1.0, 2.0, 0.5]


def a_table(folder: Path) -> Path:
    write_table(folder / "perplexity.parquet", PERPLEXITY, PERPLEXITY_ROWS, {})
    return folder / "perplexity.parquet"


def a_mask(folder: Path, layer: int = 1, shape: tuple[int, int] = (4, 6)) -> Path:
    theta = torch.linspace(-1, 1, shape[0] * shape[1]).view(shape)
    write_mask(folder / "mask.safetensors", Mask(layer, theta > -0.5, theta), {})
    return folder / "mask.safetensors"


def a_checkpoint(folder: Path) -> Path:
    Checkpoint(folder / "state.checkpoint", FINGERPRINT).write({"total": torch.arange(100.0)})
    return folder / "state.checkpoint"


def summarised(path: Path) -> Ended:
    params = {"mask": {}, "key": {"model": "tiny", "method": "rome"}}
    files = {"input": {"perplexity": path}, "output": {"measures": path.with_suffix(".out")}}
    return rule(summarise_perplexity, path.parent, **files, params=params, wildcards=WILDCARDS)


def structured(path: Path) -> Ended:
    return rule(measure_mask_structure, path.parent, input={"mask": path}, output={"structure": path.with_suffix(".out")})


def resumed(path: Path) -> Ended:
    script = SimpleNamespace(__name__="train_mask", main=lambda smk: Checkpoint(path, FINGERPRINT).read())
    return rule(script, path.parent)


KINDS = {  # how the file is called when it is refused: what makes it, and the rule that reads it
    "whole Parquet file at .*perplexity.parquet": (a_table, summarised),
    "whole mask file at .*mask.safetensors": (a_mask, structured),
    "whole checkpoint at .*state.checkpoint": (a_checkpoint, resumed),
}
DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content[:-1],
    "without its first byte": lambda content: content[1:],
    "empty": lambda content: b"",
    "text": lambda content: b"case_id,state,nll\n1,edited,2.5\n",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_named(tmp_path, kind, how):
    make, read = KINDS[kind]
    path = make(tmp_path)
    path.write_bytes(DAMAGES[how](path.read_bytes()))
    refused(read(path), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_file_or_a_folder_in_its_place_is_named(tmp_path, kind):
    make, read = KINDS[kind]
    path = make(tmp_path)
    path.unlink()
    if read is not resumed:  # a job without a checkpoint begins anew
        refused(read(path), kind)
    path.mkdir()
    refused(read(path), kind)


CONTENT = {
    a_table: lambda path: read_arrow(path, PERPLEXITY).to_pydict(),
    a_mask: lambda path: {name: part.tolist() for name, part in read_tensors(path, "a mask")[0].items()},
    a_checkpoint: lambda path: Checkpoint(path, FINGERPRINT).read()["total"].tolist(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_flipped_bit_is_read_as_another_number(tmp_path, kind):
    """A flip is found or does nothing (Parquet and zip files have bytes that nobody reads)."""
    make, read = KINDS[kind]
    path, content = make(tmp_path), CONTENT[make]
    whole, original, found = path.read_bytes(), content(path), []
    for at in range(0, len(whole), max(1, len(whole) // 400)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            assert content(path) == original, at
        except OnemaskError:
            found.append(path.read_bytes())
    assert len(found) > 100
    path.write_bytes(found[len(found) // 2])
    refused(read(path), kind)


@pytest.mark.parametrize(
    ("write", "read", "message"),
    [
        (
            lambda path: write_table(path, FACTS, FACT_ROWS, {}),
            summarised,
            r"schema perplexity \(case_id, state, nll, tokens\) in .*; found case_id: int64, relation_id: string",
        ),
        (
            lambda path: pd.DataFrame(PERPLEXITY_ROWS).astype({"tokens": str}).to_parquet(path),
            summarised,
            "schema perplexity .*; found .*tokens: (large_)?string",
        ),
        (lambda path: write_tensors(path, {"second_moment": torch.eye(2)}, {}), structured, "found a file of second_moment"),
        (lambda path: save_file({"keep": torch.ones(2, 2)}, path), structured, "found other content than onemask wrote"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, write, read, message):
    write(tmp_path / "given")
    refused(read(tmp_path / "given"), message)


def some_edits(**changes: object) -> pd.DataFrame:
    """Edits of FACT_ROWS in layer 1 of a 4 x 6 matrix, with other columns than these."""
    return edits_table(**{"case_id": [1, 2], "relation_id": "P17", "layer": 1, "u": [U, U], "r": [R, R]} | changes)


NAN = float("nan")


@pytest.mark.parametrize(
    ("edits", "mask", "message"),
    [
        (some_edits(layer=2), {}, "edits of layer 1, which .*mask.safetensors masks; found layer 2"),
        (some_edits(), {"shape": (4, 5)}, r"a mask of shape \(4, 6\); found \(4, 5\)"),
        (some_edits(u=[U[:5]] * 2), {}, r"a mask of shape \(4, 5\); found \(4, 6\)"),
        (some_edits(u=[U, [NAN] * 6]), {}, "finite edits; found NaN or infinity"),
        (some_edits(r=[R, [float("inf")] * 4]), {}, "finite edits; found NaN or infinity"),
        (some_edits(u=[U, U[:5]]), {}, "factors u of every edit, equally long"),
        (some_edits(r=[R, None]), {}, "factors r of every edit, equally long"),
        (some_edits(layer=[1, 2]), {}, "2 facts in layer 1; found 1 rows"),
        (some_edits(case_id=[1, 3]), {}, "edits of these facts; found unknown cases 3"),
        (some_edits(failure="loss not finite"), {}, "an edit that did not fail; found none in .*edits.parquet"),
        (some_edits()[:0], {}, "an edit that did not fail; found none in .*edits.parquet"),
        (
            pd.concat([some_edits(layer=1), some_edits(layer=2)]),
            {},
            r"single edits of one layer, or one joint edit; found layers \[1, 2\]",
        ),
    ],
)
def test_edits_and_a_mask_that_do_not_fit_are_refused(tmp_path, edits, mask, message):
    write_table(tmp_path / "facts.parquet", FACTS, FACT_ROWS, {})
    write_table(tmp_path / "edits.parquet", EDITS, edits, {})
    given = {"facts": tmp_path / "facts.parquet", "edits": [tmp_path / "edits.parquet"], "mask": a_mask(tmp_path, **mask)}
    refused(rule(measure_update_magnitude, tmp_path, input=given, output={"magnitude": tmp_path / "out"}), message)


def test_edits_and_a_mask_that_fit_are_measured(tmp_path):
    """What the cases above change is what they are refused for."""
    write_table(tmp_path / "facts.parquet", FACTS, FACT_ROWS, {})
    write_table(tmp_path / "edits.parquet", EDITS, some_edits(), {})
    given = {"facts": tmp_path / "facts.parquet", "edits": [tmp_path / "edits.parquet"], "mask": a_mask(tmp_path)}
    found = rule(measure_update_magnitude, tmp_path, input=given, output={"magnitude": tmp_path / "out"})
    assert (found.code, found.left) == (0, {tmp_path / "out"}), found.said
    assert [read(make(tmp_path)).code for make, read in KINDS.values()] == [0, 0, 0]
