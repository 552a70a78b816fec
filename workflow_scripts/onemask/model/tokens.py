"""Text to token ids: the only place that knows of spaces, special tokens, padding and the subject's position.

Prompts are encoded with the tokenizer's own special tokens (a BOS where it adds one). An object's tokens are those that the
text of prompt, space and object has beside the prompt's; the same in editing, training and scoring (the release mixes both
ways, method.md section 6.6).
"""

from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor

from onemask.io.errors import OnemaskError
from onemask.io.placeholder import PLACE, fill


@dataclass(frozen=True)
class Padded:
    """Right-padded token ids."""

    ids: Int[Tensor, "rows length"]
    lengths: Int[Tensor, " rows"]

    @property
    def last(self) -> Int[Tensor, " rows"]:
        """Position of each row's last token."""
        return self.lengths - 1


Span = tuple[int, int]


def _tokens(tokenizer, text: str) -> tuple[list[int], list[Span]]:
    """Token ids of a text, and the part of it that each stands for; OnemaskError where it would hold a special token."""
    for special in tokenizer.all_special_tokens:
        if special in text:
            advice = "It would become the special token itself: write the text without it."
            raise OnemaskError("a text without special tokens", f"{special!r} in {text!r}", advice)
    encoding = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    # some tokenizers end a text, behind which an object is to come
    length = max((i + 1 for i, own in enumerate(encoding["special_tokens_mask"]) if not own), default=0)
    return encoding["input_ids"][:length], encoding["offset_mapping"][:length]


def encode(tokenizer, text: str) -> list[int]:
    """Token ids of a prompt; OnemaskError where a part of it would become a special token."""
    return _tokens(tokenizer, text)[0]


def prompt_ids(tokenizer, facts: pd.DataFrame) -> list[list[int]]:
    """Token ids of each fact's prompt, filled with its subject."""
    return [encode(tokenizer, fill(fact.prompt, fact.subject)) for fact in facts.itertuples()]


def encode_target(tokenizer, prompt: str, target: str) -> list[int]:
    """Token ids of an object behind a prompt and a space: those that the whole text has beside the prompt's own.

    Raises OnemaskError when there are none, or the prompt's own tokens change with what comes behind it.
    """
    before, whole = encode(tokenizer, prompt), encode(tokenizer, f"{prompt} {target.strip()}")
    if not target.strip() or len(whole) <= len(before):
        raise OnemaskError("an object of at least one token", repr(target), "Correct the fact.")
    if whole[: len(before)] != before:
        found = f"one whose tokens change with {target!r} behind it"
        raise OnemaskError(f"a prompt of tokens of its own, such as {prompt!r}", found, "End the prompt with a whole word.")
    return whole[len(before) :]


def encode_apart(tokenizer, target: str) -> list[int]:
    """Token ids of an object on its own, without a space, as parts of the release read it (method.md section 6.1)."""
    return tokenizer(target.strip(), add_special_tokens=False)["input_ids"]


def encode_with_subject(tokenizer, prompt: str, subject: str, template: str = PLACE) -> tuple[list[int], int]:
    """Token ids of `template` filled with `prompt` filled with `subject`, and the index of the subject's last token.

    Raises OnemaskError unless prompt and template hold "{}" exactly once, and where no token ends with the subject, as inside a
    longer word: another word's token would be edited.
    """
    before = template.split(PLACE)[0] + prompt.split(PLACE)[0]
    text = fill(fill(template, prompt), subject)
    ids, spans = _tokens(tokenizer, text)
    start, end = len(before), len(before) + len(subject)
    covering = [i for i, (first, behind) in enumerate(spans) if first < end <= behind]
    if not subject.strip() or not covering:
        raise OnemaskError(f"a token over the end of {subject!r}", f"none in {text!r}", "Correct the subject.")
    first, behind = spans[covering[-1]]
    if any(map(str.isalnum, text[first:start] + text[end:behind])):
        found = f"the token {text[first:behind]!r} in {text!r}, which is more than the subject"
        raise OnemaskError(
            f"a token that ends with {subject!r}", found, "Take the whole word as subject, or rephrase the prompt."
        )
    return ids, covering[-1]


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
