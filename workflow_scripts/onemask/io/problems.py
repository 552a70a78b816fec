"""Records of a file that cannot be used: all of them named at once, or left out and named."""

import contextlib
import logging
from collections.abc import Generator
from pathlib import Path

from onemask.io.errors import OnemaskError

SHOWN, NAMED = 20, 5  # problems that are spelt out; places that a note names
WAY_OUT = "--skip-bad (a run's file: facts.skip_bad) goes on without them."


class Problems:
    """What is wrong with the records of a source, collected record by record, until `settle`.

    source: the file, for messages. skip: bad records are left out and logged, not refused.
    """

    def __init__(self, source: str | Path, skip: bool = False):
        self.source, self.skip = str(source), skip
        self.found: list[tuple[str, OnemaskError]] = []
        self.notes: dict[str, list[str]] = {}

    @contextlib.contextmanager
    def of(self, where: str) -> Generator[None, None, None]:
        """Within the block, an OnemaskError is kept as the problem of one record; where: its place, such as "record 3"."""
        try:
            yield
        except OnemaskError as error:
            self.found.append((where, error))

    def note(self, what: str, where: str) -> None:
        """Keep what was changed or understood in a record that can be used; `settle` logs a line for each `what`."""
        places = self.notes.setdefault(what, [])
        if where not in places[-1:]:
            places.append(where)

    def settle(self, left: int) -> None:
        """Log the notes, then raise one OnemaskError that names every problem; or log them, where bad records are skipped.

        left: number of records that can be used. None is an error even then. Afterwards the collector is empty.
        """
        found, notes, self.found, self.notes = self.found, self.notes, [], {}
        for what, places in notes.items():
            more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
            logging.warning("%s: %s%s: %s", self.source, ", ".join(places[:NAMED]), more, what)
        if found and not self.skip:
            raise self._error(found)
        if found:
            logging.warning("%s: %d bad records are left out:%s", self.source, len(found), _listed(found))
        if not left:
            raise OnemaskError(f"a record of {self.source} that can be used", "none", "Correct the file.")

    def _error(self, found: list[tuple[str, OnemaskError]]) -> OnemaskError:
        if len(found) == 1:
            ((where, error),) = found
            return OnemaskError(f"{error.expected} in {where} of {self.source}", error.found, error.do)
        advice = f"Correct them; {WAY_OUT}{_listed(found)}"
        return OnemaskError(f"records of {self.source} that can be used", f"{len(found)} that cannot", advice)


def _listed(found: list[tuple[str, OnemaskError]]) -> str:
    """One line a problem, the first `SHOWN`, then how many more."""
    lines = [f"\n  {where}: {error}" for where, error in found[:SHOWN]]
    return "".join(lines) + (f"\n  and {len(found) - SHOWN} more" if len(found) > SHOWN else "")
