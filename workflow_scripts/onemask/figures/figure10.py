"""Figure 10: MLP (left) and attention (right) contributions by layer, where many facts are edited together, under the mask."""

from onemask.figures.figure04 import SIZE, TABLES, draw

__all__ = ["SIZE", "TABLES", "draw"]
