"""Context templates: short texts of the model's own making, before which a fact's prompt is put."""

import unicodedata

import pandas as pd
import torch

from onemask.io.errors import OnemaskError
from onemask.model.models import Model
from onemask.model.tokens import encode

STARTS = ("The", "Therefore", "Because", "I", "You")
TOP_K = 5


def continue_text(model: Model, start: str, length: int, generator: torch.Generator) -> str:
    """Sample until the text has `length` tokens, from the renormalised five likeliest (EasyEdit: `generate_fast`)."""
    ids = encode(model.tokenizer, start)
    while len(ids) < length:
        with torch.inference_mode():
            logits = model.network(torch.tensor([ids], device=model.device)).logits[0, -1].float().cpu()
        top = logits.softmax(-1).topk(TOP_K)
        ids.append(int(top.indices[torch.multinomial(top.values, 1, generator=generator)]))
    return model.tokenizer.decode(ids, skip_special_tokens=True)


def clean(text: str) -> str:
    """NFKD, paragraphs joined, braces stripped, so that the text can hold "{}" once."""
    text = unicodedata.normalize("NFKD", text).replace("\n\n", " ")
    return text.replace("{", " ").replace("}", " ")


def make_templates(model: Model, counts: list[dict], seed: int) -> pd.DataFrame:
    """The `templates` table: "{}" first, then for each of `counts` (length in tokens, count) sampled texts followed by ". {}".

    The starts take turns. Each length has a generator of its own, so that fewer of one length are the first of more, and do
    not depend on the others. (method.md section 2; EasyEdit: `get_context_templates`.)
    """
    rows = [{"seed": seed, "length": 0, "text": "{}"}]
    for kind in counts:
        generator = torch.Generator().manual_seed(1000 * seed + kind["length"])
        for i in range(kind["count"]):
            text = clean(continue_text(model, STARTS[i % len(STARTS)], kind["length"], generator))
            rows.append({"seed": seed, "length": kind["length"], "text": text + ". {}"})
    return pd.DataFrame(rows)


def choose(table: pd.DataFrame, counts: list[dict]) -> list[str]:
    """The texts that one method takes of a `templates` table: "{}" and the first `count` of each length.

    Raises OnemaskError when the table holds too few.
    """
    texts = table.loc[table["length"] == 0, "text"].tolist()
    for kind in counts:
        of_length = table.loc[table["length"] == kind["length"], "text"].tolist()
        if len(of_length) < kind["count"]:
            expected = f"{kind['count']} templates of length {kind['length']}"
            raise OnemaskError(expected, f"{len(of_length)}", "Make the templates again.")
        texts += of_length[: kind["count"]]
    return texts
