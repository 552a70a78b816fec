"""Tables of the training and the structure of masks: one declared schema each."""

from onemask.io.schema import FLAGS, INTEGER, REAL, Schema

# one row: an epoch of mask training
MASK_TRAINING = Schema(
    "mask_training",
    (
        ("epoch", INTEGER),
        ("loss", REAL),
        ("restoration", REAL),
        ("sparsity", REAL),
        ("kl", REAL),
        ("tau", REAL),
        ("pruned", REAL),
        ("validation_rsr", REAL),
        ("validation_rsr_first_token", REAL),
        ("validation_top1", REAL),
    ),
)

# one row: an output dimension of the edited matrix; keep: which of its d_mlp weights stay, one bit each on disk
MASK_STRUCTURE = Schema(
    "mask_structure",
    (
        ("dimension", INTEGER),
        ("pruned", REAL),
        ("keep", FLAGS),
    ),
)
