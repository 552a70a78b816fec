"""What the command `onemask` does: the pipeline's editors on a user's facts, and edits written into a checkpoint."""

import argparse
import tempfile
from pathlib import Path

import pandas as pd

from onemask.config.load import SHIPPED, check, editing_settings, read_yaml
from onemask.config.run import moments_file
from onemask.data.assets import replacing_folder
from onemask.data.corpus import windows
from onemask.data.hub import cached_hub
from onemask.data.user_facts import read_own_facts
from onemask.editors import module_file
from onemask.editors.base import Task
from onemask.editors.registry import EDITORS
from onemask.editors.run import edit as edit_facts
from onemask.editors.schemas import EDITS
from onemask.editors.second_moment import SecondMoment, measure, read_second_moments, write_second_moments
from onemask.editors.tables import edits_table, read_edits, stack_layers
from onemask.editors.templates import choose, make_templates
from onemask.io.batching import Journal, Work
from onemask.io.codehash import code_hash
from onemask.io.errors import OnemaskError, reason
from onemask.io.files import digest, installed_versions, read_provenance, sha256, write_table, writing
from onemask.io.progress import Progress
from onemask.io.tensor_files import Checkpoint
from onemask.model.edits import write_edits
from onemask.model.models import Model, family_of, identity, load_checkpoint
from onemask.model.scoring import texts_of

SCORING_TOKENS = 4000
MOMENT_TOKENS, MOMENT_WINDOW, MOMENT_TOKENS_AT_ONCE = 100_000, 256, 4096


def locate(location: str) -> tuple[Path, dict]:
    """A checkpoint's folder and identity, from its folder or its name on the hub (fetched into the hub's cache).

    Raises OnemaskError when it is neither, lacks a part, or is of a family that is not known.
    """
    folder, revision = Path(location), "local"
    if not folder.is_dir():
        if folder.exists() or location.startswith((".", "/")) or location.count("/") > 1:
            raise OnemaskError("a checkpoint's folder or its name on the hub", location, "Correct --model.")
        folder = cached_hub(location)
        revision = folder.name  # the cache names a snapshot's folder after its commit
    name = folder.resolve().name if revision == "local" else location
    return folder, identity(folder, name, name, revision, family_of(folder, location))


def method_settings(method: str, hparams: str | None, layers: list[int] | None) -> dict:
    """Settings of a method: the shipped defaults, then a file's, then the layers of the command line.

    Raises OnemaskError when the method or a key is unknown, or a key has no value.
    """
    if method not in EDITORS:
        raise OnemaskError(f"a method out of {', '.join(EDITORS)}", method, "Correct --method.")
    parts = [read_yaml(SHIPPED / "config" / "defaults.yaml")["editing"]]
    if hparams:
        content = read_yaml(Path(hparams))
        if not isinstance(content, dict):
            raise OnemaskError(f"keys and values in {hparams}", type(content).__name__, "Correct --hparams.")
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


def second_moments(model: Model, layers: list[int], folder: Path, corpus: str | None) -> dict[int, SecondMoment]:
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


def require_place(out: Path) -> None:
    """Raise OnemaskError, before any expensive work, where nothing can be written beside `out`."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out.parent).close()


def edit(given: argparse.Namespace) -> None:
    """`onemask edit`: edit the facts of a file, print each one's success, write the edits.

    Interrupted, it goes on where it was when called again in the same way: finished batches lie in `<out>.batches` until then.
    """
    facts = read_own_facts(given.facts)
    settings = method_settings(given.method, given.hparams, given.layer)
    editor = EDITORS[given.method]
    templates = read_templates(given.templates) if given.templates else None
    corpus = read_corpus(given.corpus) if given.corpus else None
    if Path(given.out).is_dir():
        raise OnemaskError("a file to write", f"the folder {given.out}", "Correct --out.")
    require_place(Path(given.out))
    location, info = locate(given.model)
    model = load_checkpoint(location, info, given.device, given.dtype)
    for layer in editor.layers(settings):
        model.block(layer)
    texts_of(model, facts)  # raises where a text is too long
    weights = digest(info["sha256"])
    folder = Path(given.second_moments or Path(given.out).parent / f"second_moments-{weights[:8]}")
    moments = second_moments(model, editor.moment_layers(settings), folder, corpus)
    counts = settings.get("templates", [])
    templates = templates or choose(make_templates(model, counts, given.seed), counts)
    source = {
        "rule": "onemask edit",
        "config_hash": digest([given.method, settings, templates]),
        "code_hash": code_hash(Path(__file__), module_file(given.method)),
        "method": given.method,
        "settings": settings,
        "model": info,
        "device": given.device,
        "dtype": given.dtype,
        "seed": given.seed,
        "versions": installed_versions(),
    }
    moment_hashes = [sha256(folder / moments_file(list(moments)))] if moments else []
    made_from, callback = [source, facts.to_json(), moment_hashes], Progress(len(facts), "edits")
    with Work(SCORING_TOKENS, Journal.beside(given.out, made_from), callback) as work:
        task = Task(model, facts.to_dict("records"), templates, moments, work)
        table = edits_table(model, facts, edit_facts(task, given.method, settings), editor.joint, SCORING_TOKENS)
        write_table(given.out, EDITS, table, source)
    print(success_by_fact(facts, table))


def success_by_fact(facts: pd.DataFrame, table: pd.DataFrame) -> str:
    """A line a fact: did the edit make the new object likelier than the true one? And how many did."""
    scored = table.drop_duplicates("case_id").set_index("case_id").loc[facts["case_id"]]
    won = ((scored["logp_new_after"] > scored["logp_true_after"]) & (scored["failure"] == "")).to_numpy()
    lines = []
    for fact, score, success in zip(facts.itertuples(), scored.itertuples(), won, strict=True):
        text = f"{fact.prompt.replace('{}', fact.subject)} {fact.target_true} -> {fact.target_new}"
        change = f"log P(new) - log P(true): {score.logp_new_before - score.logp_true_before:+.2f} -> "
        change += f"{score.logp_new_after - score.logp_true_after:+.2f}"
        verdict = f"failed, {score.failure}" if score.failure else ("edited" if success else "not edited")
        lines.append(f"{fact.case_id:>6}  {verdict:<10}  {change}  {text}")
    return "\n".join([*lines, f"{int(won.sum())} of {len(won)} facts edited"])


def apply(location: str, edits: Path, remove: list[int], out: Path) -> None:
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
