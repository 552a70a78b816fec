"""The shapes and types in the library's signatures hold: other tests run once more, in a process where each call is checked.

Any test can be run so, which makes the small ones half as slow again:

    pytest --jaxtyping-packages=onemask.model,onemask.editors,onemask.masking,onemask.measuring,typechecker.checked
"""

import subprocess
import sys
from pathlib import Path

CHECKED = "--jaxtyping-packages=onemask.model,onemask.editors,onemask.masking,onemask.measuring,typechecker.checked"
HERE = Path(__file__).parent
WRONG = """
import torch
from onemask.model.forward import last
def test_two_lengths_for_three_rows():
    last(torch.ones(3, 4, 5), torch.tensor([1, 2]))
"""


def checked(*tests: str | Path) -> str:
    """What pytest prints of some tests under the check."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", CHECKED, *map(str, tests)]
    return subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=600).stdout


def test_calls_keep_the_signatures():
    """Every measurement, two editors and the algebra, on a random Llama."""
    printed = checked("test_algebra.py", "test_resumed.py", "test_batching.py", "-k", "not gpt2 and not qwen2")
    assert " failed" not in printed and "Error" not in printed and " passed" in printed, printed[-5000:]


def test_a_wrong_shape_is_caught(tmp_path):
    (tmp_path / "test_wrong.py").write_text(WRONG)
    printed = checked("-c", HERE.parent / "pyproject.toml", tmp_path)
    assert "TypeCheckError" in printed and "1 failed" in printed, printed
