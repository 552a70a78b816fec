"""The command `onemask`: edit a model with one's own facts, write an edited checkpoint, and compare layers."""

import argparse
import logging
import os
import sys
from pathlib import Path

from onemask.editors.registry import EDITORS, listed
from onemask.io.errors import OnemaskError
from onemask.io.streams import print_anywhere, quiet_at_closed_pipe

FACTS = "JSON, JSON lines, CSV, TSV or Parquet: prompt, subject, target_new, target_true; or a known dataset's (docs/facts.md)"
SKIP_BAD = "leave out, and name, the records that cannot be used, instead of refusing them"
DESCRIPTION = (
    "Edit facts in a language model, write an edited checkpoint, compare layers. Everything else is the pipeline's (README.md)."
)


def parser() -> argparse.ArgumentParser:
    """The command line. What it means is in the module of each command."""
    top = argparse.ArgumentParser("onemask", description=DESCRIPTION)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    edit = commands.add_parser("edit", help="edit one's own facts; writes the pipeline's Parquet of edits")
    edit.add_argument("--model", required=True, metavar="DIR|HUB_ID", help="folder of a checkpoint, or its name on the hub")
    edit.add_argument("--facts", required=True, metavar="FILE", help=FACTS)
    edit.add_argument("--skip-bad", action="store_true", help=SKIP_BAD)
    edit.add_argument("--method", default="rome", help=f"{listed(list(EDITORS), 'or')} (default: rome)")
    edit.add_argument("--layer", type=int, nargs="+", metavar="N", help="edited layer, or layers, from 0")
    edit.add_argument(
        "--hparams",
        metavar="YAML",
        help="the method's keys (docs/configuration.md), a model's file, or EasyEdit's (docs/editors.md)",
    )
    edit.add_argument("--templates", metavar="FILE", help='one context template a line, each with "{}" (default: sampled)')
    edit.add_argument(
        "--second-moments",
        metavar="DIR",
        help="of files such as 4-5-6.safetensors, by layers (default: second_moments beside --out)",
    )
    edit.add_argument("--corpus", metavar="TXT", help="text to measure missing second moments on, into --second-moments")
    edit.add_argument("--out", required=True, metavar="PARQUET", help="file of edits to write")
    edit.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    edit.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the weights (default: float32)")
    edit.add_argument("--seed", type=int, default=0, help="of sampled templates (default: 0)")
    apply = commands.add_parser("apply", help="write a checkpoint with edits in its weights")
    apply.add_argument("--model", required=True, metavar="DIR|HUB_ID", help="the model that the edits were made for")
    apply.add_argument("--edits", required=True, metavar="PARQUET", help="file of edits; all of them are applied")
    apply.add_argument("--remove", type=int, nargs="+", default=[], metavar="CASE_ID", help="leave these facts' edits out")
    apply.add_argument("--out", required=True, metavar="DIR", help="folder to write; must not exist")
    apply.add_argument("--no-check", action="store_true", help="do not load the model to say how many edits hold together")
    layers = commands.add_parser("layers", help="print how much the keys of subjects share in each layer, to choose one to edit")
    layers.add_argument("--model", required=True, metavar="DIR|HUB_ID", help="folder of a checkpoint, or its name on the hub")
    layers.add_argument("--facts", metavar="FILE", help=f"{FACTS} (default: the embedded facts)")
    layers.add_argument("--skip-bad", action="store_true", help=SKIP_BAD)
    layers.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    layers.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the weights (default: float32)")
    return top


def run(options: argparse.Namespace) -> None:
    """The command of a parsed command line; an OnemaskError is one line on standard error and exit status 1."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    logging.basicConfig(level=logging.WARNING if sys.stderr.isatty() else logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # torch and transformers are slow to import: only once the command line is right
    from transformers.utils import logging as transformers_logging

    from onemask.commands.apply import apply_edits
    from onemask.commands.edit import edit_user_facts
    from onemask.commands.layers import compare_layers

    transformers_logging.disable_progress_bar()

    try:
        if options.command == "edit":
            edit_user_facts(options)
        elif options.command == "layers":
            print(compare_layers(options.model, options.facts, options.device, options.dtype, options.skip_bad))
        else:
            apply_edits(options.model, Path(options.edits), options.remove, Path(options.out), not options.no_check)
    except OnemaskError as error:
        sys.exit(f"onemask: {error}")


def main(arguments: list[str] | None = None) -> None:
    """Run the command, whatever the terminal can show."""
    print_anywhere()
    with quiet_at_closed_pipe():
        run(parser().parse_args(arguments))


if __name__ == "__main__":
    main()
