"""What is printed survives any terminal: one of another encoding, and a pipe whose reader has gone."""

import contextlib
import os
import sys
from collections.abc import Generator

CLOSED_PIPE = 128 + 13  # what a shell reports of a program that SIGPIPE ended


def print_anywhere() -> None:
    """Have characters that the terminal's encoding lacks printed as escapes, on standard output and error."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):  # a test's stream may have none
            reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def quiet_at_closed_pipe() -> Generator[None, None, None]:
    """Within the block, a reader of standard output that has gone (`| head`) ends the process without a traceback."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's own flush fails at its end
        sys.exit(CLOSED_PIPE)
