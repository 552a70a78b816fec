"""`onemask edit`: the pipeline's editors on a user's facts."""

import argparse
import hashlib
from pathlib import Path

from onemask.commands.moments import read_corpus, read_or_measure_moments
from onemask.commands.outcome import outcome
from onemask.commands.places import locate, require_place
from onemask.config.easyedit import is_easyedits, require_last_layer, translated
from onemask.config.load import SHIPPED, check, editing_settings, read_yaml
from onemask.data.conflicts import without_conflicts
from onemask.data.read_facts import read_facts
from onemask.editors import module_file
from onemask.editors.base import Task
from onemask.editors.encodable import encodable
from onemask.editors.registry import EDITORS
from onemask.editors.run import edit
from onemask.editors.schemas import EDITS
from onemask.editors.tables import edits_table
from onemask.editors.templates import choose, make_templates
from onemask.io.batching import Journal, Work
from onemask.io.codehash import code_hash
from onemask.io.errors import OnemaskError, reason
from onemask.io.files import digest, installed_versions, write_table
from onemask.io.problems import Problems
from onemask.io.progress import Progress
from onemask.model.models import load_checkpoint

SCORING_TOKENS = 4000


def method_settings(method: str, hparams: str | None, layers: list[int] | None) -> dict:
    """Settings of a method: the shipped defaults, then a file's (ours or EasyEdit's), then the layers of the command line.

    Raises OnemaskError when the method or a key is unknown, or a key has no value.
    """
    if method not in EDITORS:
        raise OnemaskError(f"a method out of {', '.join(EDITORS)}", method, "Correct --method.")
    parts = [read_yaml(SHIPPED / "config" / "defaults.yaml")["editing"]]
    if hparams:
        content = read_yaml(Path(hparams))
        if not isinstance(content, dict):
            raise OnemaskError(f"keys and values in {hparams}", type(content).__name__, "Correct --hparams.")
        if is_easyedits(content):
            content = translated(content, method, hparams)
        parts.append(content.get("editing", {method: content}))
    if layers:
        if EDITORS[method].several_layers:
            parts.append({method: {"layers": layers}})
        elif len(layers) == 1:
            parts.append({method: {"layer": layers[0]}})
        else:
            raise OnemaskError(f"one layer for {method}", str(layers), "Give one --layer.")
    for part in parts[1:]:
        check(part, "methods.schema.yaml", SHIPPED / "config" / "schemas", "the hyperparameters")
    return editing_settings(method, parts, SHIPPED, "Give --layer, or the key in the file of --hparams.")


def read_templates(path: str) -> list[str]:
    """One template a line, "{}" put first where it is missing; OnemaskError when a line does not hold "{}" once."""
    try:
        lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise OnemaskError(f"templates at {path}", reason(error), "Correct --templates.") from error
    for line in lines:
        if line.count("{}") != 1:
            raise OnemaskError(f'"{{}}" once in each template of {path}', repr(line), "Correct the line.")
    return ["{}", *(line for line in lines if line != "{}")]


def edit_user_facts(options: argparse.Namespace) -> None:
    """`onemask edit`: edit the facts of a file, print each one's success, write the edits.

    Interrupted, it goes on where it was when called again in the same way: finished batches lie in `<out>.batches` until then.
    """
    settings, editor = method_settings(options.method, options.hparams, options.layer), EDITORS[options.method]
    problems = Problems(options.facts, options.skip_bad)
    facts = without_conflicts(read_facts(options.facts, problems), problems, editor.joint)
    problems.settle(len(facts))
    templates = read_templates(options.templates) if options.templates else None
    corpus = read_corpus(options.corpus) if options.corpus else None
    if Path(options.out).is_dir():
        raise OnemaskError("a file to write", f"the folder {options.out}", "Correct --out.")
    require_place(Path(options.out))
    location, info = locate(options.model)
    model = load_checkpoint(location, info, options.device, options.dtype)
    require_last_layer(options.hparams, model.n_layers)
    for layer in editor.layers(settings):
        model.block(layer)
    facts = encodable(model, facts, problems)
    problems.settle(len(facts))
    folder = Path(options.second_moments or Path(options.out).parent / f"second_moments-{info['sha256'][:8]}")
    moments = read_or_measure_moments(model, editor.moment_layers(settings), folder, corpus)
    counts = settings.get("templates", [])
    templates = templates or choose(make_templates(model, counts, options.seed), counts)
    source = {
        "rule": "onemask edit",
        "config_hash": digest([options.method, settings, templates]),
        "code_hash": code_hash(Path(__file__), module_file(options.method)),
        "method": options.method,
        "settings": settings,
        "model": info,
        "device": options.device,
        "dtype": options.dtype,
        "seed": options.seed,
        "versions": installed_versions(),
    }
    of_moments = [hashlib.sha256(moment.matrix.numpy()).hexdigest() for moment in moments.values()]
    made_from, callback = [source, facts.to_json(), of_moments], Progress(len(facts), "edits")
    with Work(SCORING_TOKENS, Journal.beside(options.out, made_from), callback) as work:
        task = Task(model, facts.to_dict("records"), templates, moments, work)
        table = edits_table(model, facts, edit(task, options.method, settings), editor.joint, SCORING_TOKENS)
        write_table(options.out, EDITS, table, source)
    print(outcome(table))
