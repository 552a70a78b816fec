"""Tables of what is measured by fact: one declared schema each."""

from onemask.io.schema import FACT, FLAG, INTEGER, REAL, TEXT, Schema

_SCORES = (
    ("logp_true", REAL),
    ("logp_new", REAL),
    ("logp_true_first", REAL),
    ("logp_new_first", REAL),
    ("argmax", INTEGER),
    ("top1", FLAG),
    ("kl", REAL),
)
# what is pruned without training: the criterion, and the share of weights that it removes
_PRUNED = (("parametrisation", TEXT), ("share", REAL))
_PERPLEXITY = (("nll", REAL), ("tokens", INTEGER))

# one row: fact x state; onemask.measuring.states.states_of says what the states are
REVERSAL = Schema("reversal", (*FACT, ("state", TEXT), *_SCORES))

# one row: fact x criterion x share x state; onemask.measuring.pruning says what the criteria and states are
PRUNING = Schema("pruning", (*FACT, ("state", TEXT), *_PRUNED, *_SCORES))

# one row: fact x state x method whose edits the mask was trained on ("" where there is no trained mask)
TRANSFER = Schema("transfer", (*FACT, ("state", TEXT), ("trained_on", TEXT), *_SCORES))

# one row: state x edit (case_id -1 where no edit is applied); nll is the mean over tokens, in nats
PERPLEXITY = Schema("perplexity", (("case_id", INTEGER), ("state", TEXT), *_PERPLEXITY))

# one row: edit x criterion x share x state
PRUNING_PERPLEXITY = Schema("pruning_perplexity", (("case_id", INTEGER), ("state", TEXT), *_PRUNED, *_PERPLEXITY))

# one row: fact x state; onemask.measuring.blocking.block says what the four states are
BLOCKING = Schema(
    "blocking",
    (
        *FACT,
        ("state", TEXT),
        ("success", FLAG),
        ("token_accuracy", REAL),
        ("steps", INTEGER),
    ),
)

# one row: fact x state x token x layer x component; layer -1 is the embedding, contributions in logits
DECOMPOSITION = Schema(
    "decomposition",
    (
        ("case_id", INTEGER),
        ("state", TEXT),
        ("token", TEXT),
        ("layer", INTEGER),
        ("component", TEXT),
        ("exact", REAL),
        ("unfolded", REAL),
    ),
)

# one row: state x layer x dimension of the residual stream behind the layer (-1: the embedding) at the last prompt position:
# mean and its standard error over facts, and mean absolute value
ACTIVATIONS = Schema(
    "activations",
    (
        ("state", TEXT),
        ("layer", INTEGER),
        ("dimension", INTEGER),
        ("mean", REAL),
        ("sem", REAL),
        ("mean_abs", REAL),
        ("facts", INTEGER),
    ),
)

# one row: fact x state x layer x head; weight: attention of the last prompt position to the subject's last token
ATTENTION = Schema(
    "attention",
    (
        *FACT,
        ("state", TEXT),
        ("layer", INTEGER),
        ("head", INTEGER),
        ("weight", REAL),
    ),
)

# one row: fact x component x first_layer: the edited model, whose outputs of that component ("attention", "mlp", "both") at
# the last prompt position are the original model's from first_layer on (the number of layers: nowhere)
PATCHING = Schema(
    "patching",
    (
        *FACT,
        ("component", TEXT),
        ("first_layer", INTEGER),
        ("logp_true_first", REAL),
        ("logp_new_first", REAL),
        ("top1", FLAG),
    ),
)

# one row: an edit (case_id -1: all facts in one): mean |dW| over all places and over those the mask prunes, Frobenius norm
# likewise, and the share of pruned places among equally many places of largest |dW|
UPDATE_MAGNITUDE = Schema(
    "update_magnitude",
    (
        *FACT,
        ("mean_all", REAL),
        ("mean_pruned", REAL),
        ("norm_all", REAL),
        ("norm_pruned", REAL),
        ("high_magnitude", REAL),
    ),
)

# one row: a layer; onemask.measuring.key_energy.key_energy defines both numbers
KEY_ENERGY = Schema(
    "key_energy",
    (
        ("layer", INTEGER),
        ("common_energy", REAL),
        ("cosine", REAL),
        ("subjects", INTEGER),
    ),
)
