"""Figure 10: MLP (left) and attention (right) contributions by layer, where many facts are edited together, under the mask.

Mean and standard error over facts of the logit of the original fact (original, pruned) or of the edited fact (edited). The mask
covers the last edited layer only, for which it was trained; the other edited layers keep their edits.
The paper: the mask takes away the peaks of attention and leaves the MLPs on the original model's path.
"""

from onemask.figures.figure04 import SIZE, draw

__all__ = ["SIZE", "draw"]
