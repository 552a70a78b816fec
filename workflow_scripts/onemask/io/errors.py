"""The one exception a user is meant to read."""

import reprlib
import textwrap

# advice that several rooms give
REMAKE = "Correct the path, or delete the damaged file and run again to remake it."
EDIT_AGAIN = "Make the edits again."

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200


class OnemaskError(Exception):
    """Bad input or a broken promise, said in one line: what was expected, what was found, what to do."""

    def __init__(self, expected: str, found: str, do: str):
        super().__init__(f"expected {expected}; found {found}. {do}")
        self.expected, self.found, self.do = expected, found, do


def reason(error: BaseException) -> str:
    """What another library's exception says, short and on one line, to stand for what was found."""
    return textwrap.shorten(str(error), 300).rstrip(".") or type(error).__name__


def shown(value: object) -> str:
    """A value that was found, as Python writes it, short however large it is."""
    return _SHORT.repr(value)
