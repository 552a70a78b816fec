"""Figure 9: what MLP and attention layers add to the logits of both facts, where many facts are edited together."""

from onemask.figures.figure03 import SIZE, TABLES, draw

__all__ = ["SIZE", "TABLES", "draw"]
