"""Context templates: short texts of the model's own making, before which a fact's prompt is put."""

import unicodedata

import pandas as pd
import torch

from onemask.models import Model
from onemask.tokens import encode

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

    The starts take turns. (method.md section 2; EasyEdit: `get_context_templates`.)
    """
    generator = torch.Generator().manual_seed(seed)
    rows = [{"seed": seed, "length": 0, "text": "{}"}]
    for kind in counts:
        for i in range(kind["count"]):
            text = clean(continue_text(model, STARTS[i % len(STARTS)], kind["length"], generator))
            rows.append({"seed": seed, "length": kind["length"], "text": text + ". {}"})
    return pd.DataFrame(rows)
