"""The one exception a user is meant to read."""


class OnemaskError(Exception):
    """Bad input or a broken promise, said in one line: what was expected, what was found, what to do."""

    def __init__(self, expected: str, found: str, do: str):
        super().__init__(f"expected {expected}; found {found}. {do}")
