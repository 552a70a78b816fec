"""Where a prompt holds its subject: at "{}", or where the subject itself stands as a whole word."""

import re
import unicodedata
from collections.abc import Iterator

from onemask.io.errors import OnemaskError, shown
from onemask.io.placeholder import PLACE

ADVICE = f'Write "{PLACE}" once, where the subject stands.'


def with_place(prompt: str, subject: str) -> str:
    """The prompt with "{}" once, in the subject's place.

    A subject that adjoins letters of a script with upper and lower case, or digits, stands inside a longer word; scripts that
    write no blanks between words, such as Chinese, have no such words.

    Raises OnemaskError when the place is missing, is not the only one, or is inside a longer word.
    """
    if PLACE in subject:
        raise OnemaskError(f'a subject without "{PLACE}"', shown(subject), "Correct the record.")
    if prompt.count(PLACE) > 1:
        raise OnemaskError(f'"{PLACE}" once in the prompt', shown(prompt), ADVICE)
    if PLACE in prompt:
        return prompt
    found = [match.span() for match in re.finditer(re.escape(subject), prompt)]
    whole = [span for span in found if not _adjoins(prompt, *span)]
    expected = f"the subject {shown(subject)} once in the prompt"
    if len(whole) == 1:
        start, end = whole[0]
        return prompt[:start] + PLACE + prompt[end:]
    if whole:
        raise OnemaskError(expected, f"{len(whole)} times in {shown(prompt)}", ADVICE)
    if found:
        word = _word_around(prompt, *found[0])
        raise OnemaskError(expected, f"it inside the longer word {shown(word)} of {shown(prompt)}", ADVICE)
    near = next(_near(prompt, subject), None)
    advice = f"Did you mean {shown(near)}? {ADVICE}" if near else ADVICE
    raise OnemaskError(expected, f"0 times in {shown(prompt)}", advice)


def _adjoins(prompt: str, start: int, end: int) -> bool:
    """Whether the span goes on as a word before its start or behind its end."""
    if prompt[end : end + 1] and unicodedata.category(prompt[end]).startswith("M"):
        return True  # an accent or vowel sign of the last letter
    before = start > 0 and _joins(prompt[start - 1]) and _joins(prompt[start])
    return before or end < len(prompt) and _joins(prompt[end - 1]) and _joins(prompt[end])


def _joins(character: str) -> bool:
    return character.isdecimal() or character.upper() != character.lower()


def _word_around(prompt: str, start: int, end: int) -> str:
    while start > 0 and prompt[start - 1].isalnum():
        start -= 1
    while end < len(prompt) and prompt[end].isalnum():
        end += 1
    return prompt[start:end]


def _near(prompt: str, subject: str) -> Iterator[str]:
    """What the prompt holds of other case, or with other blanks, than the subject."""
    pattern = r"\s+".join(map(re.escape, subject.split()))
    for match in re.finditer(pattern, prompt, re.IGNORECASE):
        if not _adjoins(prompt, *match.span()):
            yield match[0]
