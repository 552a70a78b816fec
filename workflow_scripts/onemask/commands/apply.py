"""`onemask apply`: edits written into a checkpoint."""

from pathlib import Path

from onemask.commands.places import locate, require_place
from onemask.data.assets import replacing_folder
from onemask.editors.tables import read_edits, stack_layers
from onemask.io.errors import OnemaskError
from onemask.io.files import read_provenance
from onemask.model.edits import write_edits
from onemask.model.models import load_checkpoint


def apply_edits(location: str, edits: Path, remove: list[int], out: Path) -> None:
    """`onemask apply`: write a checkpoint (safetensors, config, tokenizer) with the sum of a file's edits in its weights.

    The weights keep their stored type. The folder appears whole or not at all.

    Raises OnemaskError when `out` exists, the edits are another model's, or a case to remove is not among them.
    """
    if out.exists():
        raise OnemaskError(f"a new folder at {out}", "one that exists", "Choose another --out, or delete it.")
    require_place(out)
    table = read_edits([edits])
    unknown = sorted(set(remove) - set(table["case_id"]))
    if unknown:
        raise OnemaskError(f"cases of {edits} in --remove", f"{unknown}", f"It holds {sorted(set(table['case_id']))[:20]}.")
    table = table[~table["case_id"].isin(remove)].reset_index(drop=True)
    if table.empty:
        raise OnemaskError("an edit to apply", "none left", "Remove fewer.")
    folder, info = locate(location)
    made_for = read_provenance(edits).get("model", {})
    if made_for.get("sha256") != info["sha256"]:
        raise OnemaskError(f"the model that {edits} was made for ({made_for.get('name')})", location, "Correct --model.")
    model = load_checkpoint(folder, info)
    write_edits(model, stack_layers(table, model))
    with replacing_folder(out) as scratch:
        model.network.save_pretrained(scratch)
        model.tokenizer.save_pretrained(scratch)
    count, single = table["case_id"].nunique(), not table["joint"].iloc[0]
    note = " (each was made on its own; together they may disturb each other)" if single and count > 1 else ""
    print(f"{count} edits in layers {sorted(table['layer'].unique().tolist())} written to {out}{note}")
