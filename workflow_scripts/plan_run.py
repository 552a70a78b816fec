"""Say what a run will take: `plan_run.py config/paper.yaml --device a100-80`. Nothing is fetched and nothing is run."""

import argparse
import sys
from pathlib import Path

import pandas as pd
from snakemake.utils import update_config

from onemask.config.load import load_run, read_yaml
from onemask.io.errors import OnemaskError
from onemask.planning.plan import STAGES, jobs, measured, plan

ROOT = Path(__file__).resolve().parent.parent


def report(config: list[str], device: str) -> str:
    """The plan as text."""
    devices = read_yaml(ROOT / "config" / "devices.yaml")
    if device not in devices:
        raise OnemaskError(f"a device out of {', '.join(devices)}", device, "Correct --device, or add it to config/devices.yaml.")
    merged: dict = {}
    for path in config:
        update_config(merged, read_yaml(ROOT / path))
    run, counts = load_run(merged, ROOT), jobs(ROOT, config)
    table = plan(run, devices[device])
    results = ROOT / run.folder
    took = [measured(results, row.model, row.method, row.stage) for row in table.itertuples()]
    table["measured"] = pd.Series(took, index=table.index, dtype=object)
    lines = [f"{'':14} {'':8} {'':11} {'operations':>10} {'hours':>7} {'peak':>8} {'disk':>8}  measured"]
    for row in table.itertuples():
        done = "" if row.measured is None else f"{row.measured / 3600:.2f} h, {row.measured / row.seconds:.2f} of it"
        lines.append(
            f"{row.model:14} {row.method:8} {row.stage:11} {row.operations:10.1e} {row.seconds / 3600:7.2f} "
            f"{row.peak / 1e9:5.1f} GB {row.disk / 1e9:5.1f} GB  {done}"
        )
    named = {rule for rules in STAGES.values() for rule in rules}
    large, hardware = table.loc[table["peak"].idxmax()], devices[device]
    lines += [
        f"{counts['total']} jobs, {sum(counts[rule] for rule in named)} of them run a model",
        f"{table['seconds'].sum() / 3600:.1f} hours on {device}, where {hardware['achieved']:.0%} of its peak is reached",
        f"at most {large['peak'] / 1e9:.1f} of {hardware['memory']} GB ({large['model']}, {large['method']}, {large['stage']})",
        f"{table['disk'].sum() / 1e9:.1f} GB on disk",
        "main memory asked for a job: "
        + ", ".join(f"{own.memory_mb / 1000:.0f} GB ({name})" for name, own in run.models.items()),
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the command; an OnemaskError is one line on standard error and exit status 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", nargs="+", help="files of config/, later ones laid over earlier ones")
    parser.add_argument("--device", default="a100-80", help="an entry of config/devices.yaml")
    options = parser.parse_args(arguments)
    try:
        print(report(options.config, options.device))
    except OnemaskError as error:
        sys.exit(f"onemask: {error}")


if __name__ == "__main__":
    main()
