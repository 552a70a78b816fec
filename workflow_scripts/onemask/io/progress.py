"""Progress with an ETA: a bar on a terminal, a line now and then in the log."""

import logging
import sys
import time
from dataclasses import dataclass

from tqdm import tqdm

LOG_EVERY_SECONDS = 10


@dataclass
class Progress:
    """Call it with the number done so far, out of `total`."""

    total: int
    what: str

    def __post_init__(self):
        self.started = self.logged = time.monotonic()
        self.bar = tqdm(total=self.total, desc=self.what, disable=not sys.stderr.isatty())

    def __call__(self, done: int) -> None:
        now = time.monotonic()
        self.bar.update(done - self.bar.n)
        if now - self.logged > LOG_EVERY_SECONDS or done == self.total:
            left = (now - self.started) / done * (self.total - done)
            logging.info("%s %d/%d, about %.0f s left", self.what, done, self.total, left)
            self.logged = now
        if done == self.total:
            self.bar.close()
