"""Does the model still work under an edit? ROME divides by k* . u: where that is near 0 the update is huge, and all text suffers.

(method.md section 2.2)
"""

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from onemask.editors.base import Edited
from onemask.model.models import Model
from onemask.model.neutral import TOKENS, divergence_of_all, divergence_of_each, mean_nll

# of the mean NLL that the neutral text has in the unedited model: the worth of a prediction differs between models
UNSTABLE = 0.5
ADVICE = "method r-rome, or a prompt in which the subject does not stand first, may do better"
JOINT_ADVICE = "fewer facts at once, or more weight on the second moment, may do better"


def relative_norms(model: Model, edited: Edited, joint: bool) -> Float[Tensor, " facts"]:
    """Frobenius norm of the update over that of W, in the layer where it is largest; of the sum where facts are joint."""
    by_layer = []
    for part in edited.layers:
        norm = part.sum().norm().expand(len(part)) if joint else part.norms()
        by_layer.append(norm.double().cpu() / model.weight(part.layer).double().norm().cpu())
    return torch.stack(by_layer).amax(0)


def health(model: Model, edited: Edited, joint: bool) -> pd.DataFrame:
    """Columns relative_norm, neutral_kl (nats a token of the neutral text) and unstable of the `edits` table, a row a fact.

    unstable: the model's predictions on the neutral text have changed by more than UNSTABLE says, or are no numbers any more.
    """
    if joint:
        divergence = divergence_of_all(model, edited.layers).expand(len(edited.failed))
    else:
        (only,) = edited.layers
        divergence = divergence_of_each(model, only)
    columns = {"relative_norm": relative_norms(model, edited, joint), "neutral_kl": divergence}
    table = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
    return table.assign(unstable=~(table["neutral_kl"] <= UNSTABLE * mean_nll(model, TOKENS)))
