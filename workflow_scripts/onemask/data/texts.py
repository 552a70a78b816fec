"""The texts of a fact: composed (NFC), without blanks where they would become tokens of their own, all of it printable."""

import re
import unicodedata

from onemask.io.errors import OnemaskError, shown

_BLANK = "[\\s\u200b\u2060\ufeff]"  # any Unicode white space, and characters of no width that separate words
_ENDS = re.compile(f"^{_BLANK}+|{_BLANK}+\\Z")
_END = re.compile(f"{_BLANK}+\\Z")
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of surrogate pairs
_UNPRINTABLE_IN_NAME = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")  # and whatever ends a line

# what stands for "no true object is known" where a dataset was made for a model's tokenizer
END_OF_TEXT = frozenset({"<|endoftext|>", "</s>", "<|im_end|>", "<eos>", "<|end_of_text|>", "<|eot_id|>", "<end_of_turn>"})


def name_text(value: object, key: str) -> tuple[str, bool]:
    """A subject, object or relation without blanks at its ends, and whether it had any.

    Raises OnemaskError when it is no text, empty, or holds an end of line, a control character or half a surrogate pair.
    """
    text = _composed(value, key)
    clean = _ENDS.sub("", text)
    return _printable(clean, value, key, _UNPRINTABLE_IN_NAME), clean != text


def prompt_text(value: object, key: str) -> tuple[str, bool]:
    """A prompt without blanks at its end, since objects bring their own, and whether it had any.

    Raises OnemaskError when it is no text, empty, or holds a control character other than tabs and ends of lines.
    """
    text = _composed(value, key)
    clean = _END.sub("", text)
    return _printable(clean, value, key, _UNPRINTABLE), clean != text


def _composed(value: object, key: str) -> str:
    """NFC, so that a letter and its accent are the same text however they were typed."""
    if not isinstance(value, str):
        raise OnemaskError(f"a text for {key}", shown(value), "Correct the record.")
    return unicodedata.normalize("NFC", value)


def _printable(text: str, value: object, key: str, unprintable: re.Pattern[str]) -> str:
    if not text:
        raise OnemaskError(f"a text for {key}", shown(value), "Correct the record.")
    if bad := unprintable.search(text):
        half = " (half a surrogate pair)" if "\ud800" <= bad[0] <= "\udfff" else ""
        raise OnemaskError(f"a printable text for {key}", f"U+{ord(bad[0]):04X}{half} in {shown(text)}", "Correct the record.")
    return text
