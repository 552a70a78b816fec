"""Figure 8: reversal of edits made together, by the shared mask over their last layer, beside a random mask and the zeroed layer.

Top: reversal success rate (left) and Top-1 overlap with the original model (right) by relation, with 95% intervals.
Bottom: perplexity of the one model that holds all test edits (left), KL(original || state) at the last prompt position (right).
The paper: above 0.7 in most relations on GPT-2 XL, while perplexity stays close to the original's (17.80, 17.90, 19.00).
"""

from onemask.figures.figure07 import SIZE, draw

__all__ = ["SIZE", "draw"]
