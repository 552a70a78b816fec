"""Figure 8: reversal of edits made together, by the shared mask over their last layer, beside a random mask and the zeroed
layer.
"""

from onemask.figures.figure07 import SIZE, TABLES, draw

__all__ = ["SIZE", "TABLES", "draw"]
