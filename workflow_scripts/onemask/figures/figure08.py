"""Figure 8: reversal of joint edits, by the shared mask over their last layer, beside a random mask and the zeroed layer."""

from onemask.figures.reversal import SIZE, TABLES
from onemask.figures.reversal import draw_reversal as draw

__all__ = ["SIZE", "TABLES", "draw"]
