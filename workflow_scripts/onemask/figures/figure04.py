"""Figure 4: MLP (left) and attention (right) contributions by layer in the original, the edited and the pruned model."""

from onemask.figures import style
from onemask.figures.contributions import TABLES
from onemask.figures.contributions import draw_pruned as draw

__all__ = ["SIZE", "TABLES", "draw"]
SIZE = (style.TEXT, 2.3)
