"""Tables of measured values, claims, and the paper beside ours: one declared schema each."""

from onemask.io.schema import FLAG, INTEGER, REAL, TEXT, Schema

# one row: a measured value; every table for readers is made of these. Null or "" where a column says nothing: layer (of the study
# of layers, or of a head), parametrisation and share (of a study's mask), training_edits (of a mask of fewer), trained_on (the
# method whose edits the mask saw, where it is another), item (what else the value is of: a head, an output dimension, a case, the
# object whose logit it is)
MEASURES = Schema(
    "measures",
    (
        ("model", TEXT),
        ("method", TEXT),
        ("layer", INTEGER),
        ("split", TEXT),
        ("seed", INTEGER),
        ("state", TEXT),
        ("parametrisation", TEXT),
        ("share", REAL),
        ("training_edits", INTEGER),
        ("trained_on", TEXT),
        ("item", TEXT),
        ("relation", TEXT),
        ("metric", TEXT),
        ("value", REAL),
        ("ci_low", REAL),
        ("ci_high", REAL),
        ("n", INTEGER),
    ),
)

# one row: a claim of config/claims.yaml on one model and method; exact: no sample of facts but a property of the mask or the
# model; note: why it could not be judged; p_holm is two-sided and corrected over all claims of a run; edits, unstable: test edits
# of the method, and those under which the model does not work any more
CLAIMS = Schema(
    "claims",
    (
        ("model", TEXT),
        ("method", TEXT),
        ("claim", TEXT),
        ("says", TEXT),
        ("source", TEXT),
        ("table", TEXT),
        ("value", REAL),
        ("ci_low", REAL),
        ("ci_high", REAL),
        ("bound", TEXT),
        ("control", TEXT),
        ("control_value", REAL),
        ("n", INTEGER),
        ("exact", FLAG),
        ("p_for", REAL),
        ("p_against", REAL),
        ("p_holm", REAL),
        ("verdict", TEXT),
        ("note", TEXT),
        ("edits", INTEGER),
        ("unstable", INTEGER),
    ),
)

# one row: a figure of the paper, or of ours for a model that the paper lacks; NaN where there is none
PAPER_VS_OURS = Schema(
    "paper_vs_ours",
    (
        ("printed_in", TEXT),
        ("model", TEXT),
        ("method", TEXT),
        ("split", TEXT),
        ("state", TEXT),
        ("parametrisation", TEXT),
        ("item", TEXT),
        ("relation", TEXT),
        ("metric", TEXT),
        ("paper", REAL),
        ("paper_spread", REAL),
        ("ours", REAL),
        ("ci_low", REAL),
        ("ci_high", REAL),
        ("n", INTEGER),
        ("difference", REAL),
        ("within", TEXT),
    ),
)
