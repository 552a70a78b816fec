"""What is printed survives a terminal of another encoding, and a reader that has gone; problems are told through one door."""

import os
import subprocess
import sys

import pytest

from onemask.io.errors import OnemaskError
from onemask.io.problems import Problems
from onemask.io.streams import CLOSED_PIPE

PRINTING = "import logging, sys; from onemask.io.streams import print_anywhere; {}; print({!a}); logging.warning('\\u4eac')"
NARROW = {
    "PYTHONIOENCODING=ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "LC_ALL=C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def printed(first: str, environment: dict[str, str]) -> subprocess.CompletedProcess:
    code = PRINTING.format(first, "Zürich 東京")
    return subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True)


@pytest.mark.parametrize("name", NARROW)
def test_characters_that_a_terminal_lacks_are_printed_as_escapes(name):
    found = printed("print_anywhere()", NARROW[name])
    assert found.returncode == 0, found.stderr
    assert rb"\u6771\u4eac" in found.stdout and rb"\u4eac" in found.stderr
    without = printed("pass", NARROW[name])
    assert without.returncode == 1 and b"UnicodeEncodeError" in without.stderr


def test_a_terminal_that_has_them_shows_them():
    found = printed("print_anywhere()", {"PYTHONIOENCODING": "utf-8"})
    assert found.stdout.decode() == "Zürich 東京\n"


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)"])
def test_a_reader_that_has_gone_ends_a_command_quietly(ending):
    code = "import sys; from onemask.io.streams import quiet_at_closed_pipe\n"
    code += f"with quiet_at_closed_pipe():\n    print('x' * 200_000)\n    {ending}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == CLOSED_PIPE


def test_a_problem_is_told_with_its_place_and_several_all_at_once():
    problems = Problems("f.jsonl")
    with problems.of("record 7"):
        raise OnemaskError("a text", "7", "Correct it.")
    with pytest.raises(OnemaskError, match="^expected a text in record 7 of f.jsonl; found 7. Correct it.$"):
        problems.settle(1)
    for number in range(22):
        with problems.of(f"record {number}"):
            raise OnemaskError("a text", f"{number}", "Correct it.")
    with pytest.raises(OnemaskError) as caught:
        problems.settle(1)
    first, *rest = str(caught.value).splitlines()
    assert "expected records of f.jsonl that can be used; found 22 that cannot." in first
    assert len(rest) == 21 and rest[19] == "  record 19: expected a text; found 19. Correct it." and rest[20] == "  and 2 more"


def test_only_what_a_user_is_meant_to_read_is_collected():
    problems = Problems("f.jsonl", skip=True)
    with pytest.raises(ZeroDivisionError), problems.of("record 1"):
        raise ZeroDivisionError
    problems.settle(1)
