"""`onemask apply`: edits written into a checkpoint."""

from pathlib import Path

import pandas as pd
import psutil

from onemask.commands.places import locate, require_place
from onemask.commands.sum_check import in_the_sum
from onemask.data.assets import replacing_folder
from onemask.editors.tables import read_edits, stack_layers
from onemask.io.errors import OnemaskError
from onemask.io.files import read_provenance
from onemask.io.progress import Progress
from onemask.model.checkpoints import weight_files
from onemask.model.edited_files import write_edited
from onemask.model.models import load_checkpoint

NEEDED = 1.5  # memory to run a model, of what its weights take


def edits_to_apply(edits: Path, remove: list[int]) -> pd.DataFrame:
    """The `edits` table of a file without some cases; OnemaskError when one of them is not in it, or none is left."""
    table = read_edits([edits])
    unknown = sorted(set(remove) - set(table["case_id"]))
    if unknown:
        raise OnemaskError(f"cases of {edits} in --remove", f"{unknown}", f"It holds {sorted(set(table['case_id']))[:20]}.")
    table = table[~table["case_id"].isin(remove)].reset_index(drop=True)
    if table.empty:
        raise OnemaskError("an edit to apply", "none left", "Remove fewer.")
    return table


def apply_edits(location: str, edits: Path, remove: list[int], out: Path, check: bool = True) -> None:
    """`onemask apply`: write a checkpoint with the sum of a file's edits in its weights, and say what they are worth together.

    All but W of the edited layers is copied bit for bit, and no network is loaded for it; `check` loads it, where it fits into
    memory. The folder appears whole or not at all.

    Raises OnemaskError when `out` exists, the edits are another model's, or a case to remove is not among them.
    """
    if out.exists():
        raise OnemaskError(f"a new folder at {out}", "one that exists", "Choose another --out, or delete it.")
    require_place(out)
    table = edits_to_apply(edits, remove)
    layers = stack_layers(table)
    folder, info = locate(location)
    made_for = read_provenance(edits).get("model", {})
    if made_for.get("sha256") != info["sha256"]:
        raise OnemaskError(f"the model that {edits} was made for ({made_for.get('name')})", location, "Correct --model.")
    files = weight_files(folder)
    with replacing_folder(out) as scratch:
        left = write_edited(folder, scratch, info["family"], layers, Progress(len(files), "files of weights"))
    print(f"{table['case_id'].nunique()} edits in layers {[part.layer for part in layers]} written to {out}")
    if left:
        print(f"left out, since they may hold unedited weights, run code or lie elsewhere: {', '.join(left)}")
    if check:
        print(_together(folder, info, table))


def _together(folder: Path, info: dict, table: pd.DataFrame) -> str:
    size, free = sum(path.stat().st_size for path in weight_files(folder)), psutil.virtual_memory().available
    if size * NEEDED > free:
        return f"not checked: the model takes {size / 1e9:.1f} GB of memory and more, and {free / 1e9:.1f} GB are free"
    return in_the_sum(load_checkpoint(folder, info), table)
