"""Text to token ids: the only place that knows of spaces, special tokens, padding and the subject's position.

Prompts are encoded with the tokenizer's own special tokens (a BOS where it adds one), targets without and with one
leading space; the same in editing, training and scoring (the release mixes both, method.md section 6.6).
"""

from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from onemask.io.errors import OnemaskError


@dataclass(frozen=True)
class Padded:
    """Right-padded token ids."""

    ids: Int[Tensor, "rows length"]
    lengths: Int[Tensor, " rows"]

    @property
    def last(self) -> Int[Tensor, " rows"]:
        """Position of each row's last token."""
        return self.lengths - 1


def encode(tokenizer, text: str) -> list[int]:
    """Token ids of a prompt."""
    return tokenizer(text)["input_ids"]


def prompt_ids(tokenizer, facts: pd.DataFrame) -> list[list[int]]:
    """Token ids of each fact's prompt, filled with its subject."""
    return [encode(tokenizer, fact.prompt.replace("{}", fact.subject)) for fact in facts.itertuples()]


def encode_target(tokenizer, target: str, space: bool = True) -> list[int]:
    """Token ids of an object, with its leading space (or not, as parts of the release) and without special tokens.

    Raises OnemaskError when nothing is left.
    """
    ids = tokenizer(" " * space + target.strip(), add_special_tokens=False)["input_ids"]
    if not target.strip() or not ids:
        raise OnemaskError("an object of at least one token", repr(target), "Correct the fact.")
    return ids


def encode_with_subject(tokenizer, prompt: str, subject: str, template: str = "{}") -> tuple[list[int], int]:
    """Token ids of `template` filled with `prompt` filled with `subject`, and the index of the subject's last token.

    Raises OnemaskError unless prompt and template hold "{}" exactly once.
    """
    for text in (prompt, template):
        if text.count("{}") != 1:
            raise OnemaskError('a prompt with "{}" exactly once', repr(text), "Correct the fact or the template.")
    before = template.split("{}")[0] + prompt.split("{}")[0]
    text = template.replace("{}", prompt).replace("{}", subject)
    encoding = tokenizer(text, return_offsets_mapping=True)
    last = len(before) + len(subject) - 1
    covering = [i for i, (start, end) in enumerate(encoding["offset_mapping"]) if start <= last < end]
    if not covering:
        raise OnemaskError(f"a token over the end of {subject!r}", f"none in {text!r}", "Correct the subject.")
    return encoding["input_ids"], covering[-1]


def pad(rows: list[list[int]], pad_id: int = 0) -> Padded:
    """Pad rows of ids on the right to one length."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.full((len(rows), int(lengths.max())), pad_id)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    return Padded(ids, lengths)


def batches(lengths: list[int], budget: int) -> list[list[int]]:
    """Group indices into batches of similar length whose padded size stays within `budget` tokens.

    Every batch holds at least one index; longer rows come first, so that the largest batch is met at once.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    groups: list[list[int]] = []
    for index in order:
        if groups and lengths[groups[-1][0]] * (len(groups[-1]) + 1) <= budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
