"""The place of a subject in a prompt, and of a prompt in a template."""

PLACE = "{}"


def fill(text: str, content: str) -> str:
    """A text with `content` in its place; what the content itself holds is left as it is."""
    return text.replace(PLACE, content, 1)
