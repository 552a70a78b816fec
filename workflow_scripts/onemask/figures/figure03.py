"""Figure 3: what MLP and attention layers add to the logits of the original and the edited fact."""

from onemask.figures import style
from onemask.figures.contributions import TABLES
from onemask.figures.contributions import draw_both_facts as draw

__all__ = ["SIZE", "TABLES", "draw"]
SIZE = (style.TEXT, 4.2)
