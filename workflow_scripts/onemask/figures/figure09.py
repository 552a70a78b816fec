"""Figure 9: what MLP and attention layers add to the logits of both facts, where many facts are edited together.

Top: contribution by layer, mean and standard error over facts, of MLP (left) and attention (right). Bottom: the MLPs of the
edited layers (left), and the cumulative logit (right).
The paper: modest amplification in the edited layers, sharp peaks of attention behind them.
"""

from onemask.figures.figure03 import SIZE, draw

__all__ = ["SIZE", "draw"]
