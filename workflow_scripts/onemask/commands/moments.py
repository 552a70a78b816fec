"""Second moments for a user's edits: found in a folder, or measured on a text and kept there."""

from pathlib import Path

import pandas as pd
from jaxtyping import Int
from torch import Tensor

from onemask.config.run import moments_file
from onemask.data.corpus import windows
from onemask.editors.second_moment import SecondMoment, measure, read_second_moments, text_digest, write_second_moments
from onemask.io.errors import OnemaskError, reason
from onemask.io.files import digest, installed_versions
from onemask.io.progress import Progress
from onemask.io.tensor_files import Checkpoint
from onemask.model.models import Model

TOKENS, WINDOW, TOKENS_AT_ONCE = 100_000, 256, 4096


def read_corpus(path: str) -> str:
    """A text file; OnemaskError when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OnemaskError(f"a text at {path}", reason(error), "Correct --corpus.") from error


def _file_of(layer: int, folder: Path) -> Path | None:
    """The file of a folder that holds a layer's second moment, as its name says: 17 is in 16-17-18.safetensors."""
    named = (path for path in sorted(folder.glob("*.safetensors")) if str(layer) in path.stem.split("-"))
    return next(named, None)


def _windows(model: Model, corpus: str) -> Int[Tensor, "windows length"]:
    available = len(model.tokenizer(corpus, add_special_tokens=False)["input_ids"])
    if available < model.d_mlp:
        raise OnemaskError(f"a text of at least {model.d_mlp:,} tokens", f"{available:,}", "Take a longer --corpus.")
    text = pd.DataFrame({"part": ["statistics"], "text": [corpus]})
    return windows(model.tokenizer, text, "statistics", min(TOKENS, available), min(WINDOW, model.n_ctx))


def read_or_measure_moments(model: Model, layers: list[int], folder: Path, corpus: str | None) -> dict[int, SecondMoment]:
    """Second moments by layer, from files in `folder`; where one is missing, all measured on the text `corpus` and kept there.

    Raises OnemaskError when one is missing and there is no text, the text has fewer tokens than W has columns or is too uniform,
    or a file is of another text than `corpus`.
    """
    if not layers:
        return {}
    rows = None if corpus is None else _windows(model, corpus)
    files = {layer: file for layer in layers if (file := _file_of(layer, folder))}
    if missing := [layer for layer in layers if layer not in files]:
        path = folder / moments_file(layers)
        if rows is None:
            advice = "Give their folder as --second-moments, or a text to measure them on as --corpus."
            raise OnemaskError(f"the second moments of layers {missing}", f"none in {folder}", advice)
        with Checkpoint(path.with_suffix(".checkpoint"), digest([rows.tolist(), model.info])) as checkpoint:
            measured = measure(model, layers, rows, TOKENS_AT_ONCE, checkpoint, Progress(len(rows), "windows"))
            write_second_moments(path, measured, {"model": model.info, "versions": installed_versions()})
        files = dict.fromkeys(layers, path)
    moments = {layer: read_second_moments([file], model, [layer])[layer] for layer, file in files.items()}
    for layer, moment in moments.items():
        if rows is not None and moment.text != text_digest(rows):
            advice = "Leave out --corpus to take that file, or give another folder as --second-moments."
            raise OnemaskError(f"a second moment of the text --corpus in {files[layer]}", "one of another text", advice)
    return moments
