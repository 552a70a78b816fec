"""Figure 7: reversal by the shared mask on the test facts, beside a random mask and the zeroed layer."""

from onemask.figures.reversal import SIZE, TABLES
from onemask.figures.reversal import draw_reversal as draw

__all__ = ["SIZE", "TABLES", "draw"]
