"""The place of a subject in a prompt, and of a prompt in a template."""

from onemask.io.errors import OnemaskError, shown

PLACE = "{}"


def fill(text: str, content: str) -> str:
    """A text with `content` in its one place; what the content itself holds is left as it is.

    Raises OnemaskError unless the text holds the place once.
    """
    before, *behind = text.split(PLACE)
    if len(behind) != 1:
        raise OnemaskError(f'a prompt with "{PLACE}" exactly once', shown(text), "Correct the fact or the template.")
    return before + content + behind[0]
