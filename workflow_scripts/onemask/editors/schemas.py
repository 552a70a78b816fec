"""Tables of templates and edits: one declared schema each."""

from onemask.io.schema import FACT, FLAG, INTEGER, REAL, TEXT, VECTOR, Schema

# one row: a context template; length counts all tokens, 0 for the bare "{}"
TEMPLATES = Schema(
    "templates",
    (
        ("seed", INTEGER),
        ("length", INTEGER),
        ("text", TEXT),
    ),
)

# one row: fact x edited layer x component of rank one, W_hat = W + sum of outer(r, u); u has d_mlp, r has d_model entries.
# joint: the facts are one edit of the model, else each is one. failure: why there is no edit, "" where there is.
# truncation: relative error of the components where the update was of higher rank. relative_norm, neutral_kl, unstable: health of
# the edit (health.py). token_accuracy: of the new object after the edit. verdict: what became of the fact (verdicts.py)
EDITS = Schema(
    "edits",
    (
        *FACT,
        ("prompt", TEXT),
        ("subject", TEXT),
        ("target_true", TEXT),
        ("target_new", TEXT),
        ("layer", INTEGER),
        ("component", INTEGER),
        ("u", VECTOR),
        ("r", VECTOR),
        ("joint", FLAG),
        ("steps", INTEGER),
        ("loss", REAL),
        ("delta_norm", REAL),
        ("truncation", REAL),
        ("failure", TEXT),
        ("relative_norm", REAL),
        ("neutral_kl", REAL),
        ("unstable", FLAG),
        ("logp_true_before", REAL),
        ("logp_new_before", REAL),
        ("logp_true_after", REAL),
        ("logp_new_after", REAL),
        ("token_accuracy", REAL),
        ("verdict", TEXT),
    ),
)
