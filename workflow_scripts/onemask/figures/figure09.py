"""Figure 9: what MLP and attention layers add to the logits of both facts, where many facts are edited jointly."""

from onemask.figures import style
from onemask.figures.contributions import TABLES
from onemask.figures.contributions import draw_both_facts as draw

__all__ = ["SIZE", "TABLES", "draw"]
SIZE = (style.TEXT, 4.2)
