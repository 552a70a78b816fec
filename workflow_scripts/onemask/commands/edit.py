"""`onemask edit`: the pipeline's editors on a user's facts."""

import argparse
from pathlib import Path

import pandas as pd

from onemask.commands.places import locate, require_place
from onemask.config.easyedit import is_easyedits, require_last_layer, translated
from onemask.config.load import SHIPPED, check, editing_settings, read_yaml
from onemask.config.run import moments_file
from onemask.data.conflicts import without_conflicts
from onemask.data.corpus import windows
from onemask.data.read_facts import read_facts
from onemask.editors import module_file
from onemask.editors.base import Task
from onemask.editors.registry import EDITORS
from onemask.editors.run import edit
from onemask.editors.schemas import EDITS
from onemask.editors.second_moment import SecondMoment, measure, read_second_moments, write_second_moments
from onemask.editors.tables import edits_table
from onemask.editors.templates import choose, make_templates
from onemask.io.batching import Journal, Work
from onemask.io.codehash import code_hash
from onemask.io.errors import OnemaskError, reason
from onemask.io.files import digest, installed_versions, sha256, write_table
from onemask.io.placeholder import fill
from onemask.io.problems import Problems
from onemask.io.progress import Progress
from onemask.io.tensor_files import Checkpoint
from onemask.model.models import Model, load_checkpoint
from onemask.model.scoring import texts_of

SCORING_TOKENS = 4000
MOMENT_TOKENS, MOMENT_WINDOW, MOMENT_TOKENS_AT_ONCE = 100_000, 256, 4096


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


def read_corpus(path: str) -> str:
    """A text file; OnemaskError when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OnemaskError(f"a text at {path}", reason(error), "Correct --corpus.") from error


def read_or_measure_moments(model: Model, layers: list[int], folder: Path, corpus: str | None) -> dict[int, SecondMoment]:
    """Second moments by layer, from their file in `folder`; where it is missing, measured on the text `corpus` and kept there.

    Raises OnemaskError when it is missing and there is no text, or the text has fewer tokens than W has columns.
    """
    if not layers:
        return {}
    path = folder / moments_file(layers)
    if not path.is_file():
        if corpus is None:
            advice = "Give their folder as --second-moments, or a text to measure them on as --corpus."
            raise OnemaskError(f"the second moments of layers {layers}", f"none at {path}", advice)
        available = len(model.tokenizer(corpus, add_special_tokens=False)["input_ids"])
        if available < model.d_mlp:
            raise OnemaskError(f"a text of at least {model.d_mlp:,} tokens", f"{available:,}", "Take a longer --corpus.")
        text = pd.DataFrame({"part": ["statistics"], "text": [corpus]})
        rows = windows(model.tokenizer, text, "statistics", min(MOMENT_TOKENS, available), min(MOMENT_WINDOW, model.n_ctx))
        with Checkpoint(path.with_suffix(".checkpoint"), digest([rows.tolist(), model.info])) as checkpoint:
            measured = measure(model, layers, rows, MOMENT_TOKENS_AT_ONCE, checkpoint, Progress(len(rows), "windows"))
            write_second_moments(path, measured, {"model": model.info, "versions": installed_versions()})
    return read_second_moments([path], model, layers)


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
    texts_of(model, facts)  # raises where a text is too long
    weights = digest(info["sha256"])
    folder = Path(options.second_moments or Path(options.out).parent / f"second_moments-{weights[:8]}")
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
    moment_hashes = [sha256(folder / moments_file(list(moments)))] if moments else []
    made_from, callback = [source, facts.to_json(), moment_hashes], Progress(len(facts), "edits")
    with Work(SCORING_TOKENS, Journal.beside(options.out, made_from), callback) as work:
        task = Task(model, facts.to_dict("records"), templates, moments, work)
        table = edits_table(model, facts, edit(task, options.method, settings), editor.joint, SCORING_TOKENS)
        write_table(options.out, EDITS, table, source)
    print(success_by_fact(facts, table))


def success_by_fact(facts: pd.DataFrame, table: pd.DataFrame) -> str:
    """A line a fact: did the edit make the new object likelier than the true one? And how many did."""
    scored = table.drop_duplicates("case_id").set_index("case_id").loc[facts["case_id"]]
    won = ((scored["logp_new_after"] > scored["logp_true_after"]) & (scored["failure"] == "")).to_numpy()
    lines = []
    for fact, score, success in zip(facts.itertuples(), scored.itertuples(), won, strict=True):
        text = f"{fill(fact.prompt, fact.subject)} {fact.target_true} -> {fact.target_new}"
        change = f"log P(new) - log P(true): {score.logp_new_before - score.logp_true_before:+.2f} -> "
        change += f"{score.logp_new_after - score.logp_true_after:+.2f}"
        verdict = f"failed, {score.failure}" if score.failure else ("edited" if success else "not edited")
        lines.append(f"{fact.case_id:>6}  {verdict:<10}  {change}  {text}")
    return "\n".join([*lines, f"{int(won.sum())} of {len(won)} facts edited"])
