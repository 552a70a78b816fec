"""Every table of the pipeline: one declared schema each."""

import pyarrow as pa

VERSION = 3

_text, _int, _real, _flag = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_vector = pa.list_(pa.float32())
_texts = pa.list_(_text)

_FACT = [("case_id", _int), ("relation_id", _text)]

TABLES: dict[str, pa.Schema] = {
    # one row: a fact of CounterFact's record schema (method.md section 1)
    "facts": pa.schema(
        [
            *_FACT,
            ("subject", _text),
            ("prompt", _text),
            ("target_true", _text),
            ("target_new", _text),
            ("paraphrases", _texts),
            ("neighborhood", _texts),
        ]
    ),
    # one row: a document of the corpus; part is "statistics" or "perplexity"
    "corpus": pa.schema([("part", _text), ("title", _text), ("text", _text)]),
    # one row: a context template; length counts all tokens, 0 for the bare "{}"
    "templates": pa.schema([("seed", _int), ("length", _int), ("text", _text)]),
    # one row: a fact of one split, scored by the unedited model (natural logarithms, summed over the target's tokens)
    "knowledge": pa.schema([*_FACT, ("split", _text), ("logp_true", _real), ("logp_new", _real), ("known", _flag)]),
    # one row: fact x edited layer x component of rank one, W_hat = W + sum of outer(r, u); u has d_mlp, r has d_model entries.
    # together: the file's facts are one edit of the model, else each is one. failure: why there is no edit, "" where there is.
    # truncation: relative error of the components where the update was of higher rank
    "edits": pa.schema(
        [
            *_FACT,
            ("layer", _int),
            ("component", _int),
            ("u", _vector),
            ("r", _vector),
            ("together", _flag),
            ("steps", _int),
            ("loss", _real),
            ("delta_norm", _real),
            ("truncation", _real),
            ("failure", _text),
            ("logp_true_before", _real),
            ("logp_new_before", _real),
            ("logp_true_after", _real),
            ("logp_new_after", _real),
            ("token_accuracy", _real),
        ]
    ),
    # one row: an epoch of mask training
    "mask_training": pa.schema(
        [
            ("epoch", _int),
            ("loss", _real),
            ("restoration", _real),
            ("sparsity", _real),
            ("kl", _real),
            ("tau", _real),
            ("pruned", _real),
            ("validation_rsr", _real),
            ("validation_rsr_first_token", _real),
            ("validation_top1", _real),
        ]
    ),
    # one row: fact x state; onemask.measuring.states.states_of and onemask.measuring.pruning.states_of say what the states are
    "reversal": pa.schema(
        [
            *_FACT,
            ("state", _text),
            ("logp_true", _real),
            ("logp_new", _real),
            ("logp_true_first", _real),
            ("logp_new_first", _real),
            ("argmax", _int),
            ("top1", _flag),
            ("kl", _real),
        ]
    ),
    # one row: state x edit (case_id -1 where no edit is applied); nll is the mean over tokens, in nats
    "perplexity": pa.schema([("case_id", _int), ("state", _text), ("nll", _real), ("tokens", _int)]),
    # one row: fact x condition; onemask.measuring.blocking.block says what the four conditions are
    "blocking": pa.schema([*_FACT, ("condition", _text), ("success", _flag), ("token_accuracy", _real), ("steps", _int)]),
    # one row: fact x state x token x layer x component; layer -1 is the embedding, contributions in logits
    "decomposition": pa.schema(
        [
            ("case_id", _int),
            ("state", _text),
            ("token", _text),
            ("layer", _int),
            ("component", _text),
            ("exact", _real),
            ("unfolded", _real),
        ]
    ),
    # one row: state x layer x dimension of the residual stream behind the layer (-1: the embedding) at the last prompt position:
    # mean and its standard error over facts, and mean absolute value
    "activations": pa.schema(
        [
            ("state", _text),
            ("layer", _int),
            ("dimension", _int),
            ("mean", _real),
            ("sem", _real),
            ("mean_abs", _real),
            ("facts", _int),
        ]
    ),
    # one row: fact x state x layer x head; weight: attention of the last prompt position to the subject's last token
    "attention": pa.schema([*_FACT, ("state", _text), ("layer", _int), ("head", _int), ("weight", _real)]),
    # one row: fact x component x first_layer: the edited model, whose outputs of that component ("attention", "mlp", "both") at
    # the last prompt position are the original model's from first_layer on (the number of layers: nowhere)
    "patching": pa.schema(
        [
            *_FACT,
            ("component", _text),
            ("first_layer", _int),
            ("logp_true_first", _real),
            ("logp_new_first", _real),
            ("top1", _flag),
        ]
    ),
    # one row: an edit (case_id -1: all facts in one): mean |dW| over all places and over those the mask prunes, Frobenius norm
    # likewise, and the share of pruned places among equally many places of largest |dW|
    "update_magnitude": pa.schema(
        [
            *_FACT,
            ("mean_all", _real),
            ("mean_pruned", _real),
            ("norm_all", _real),
            ("norm_pruned", _real),
            ("high_magnitude", _real),
        ]
    ),
    # one row: a claim of config/claims.yaml on one model and method; exact: no sample of facts but a property of the mask or the
    # model; note: why it could not be judged; p_holm is two-sided and corrected over all claims of a run
    "claims": pa.schema(
        [
            ("model", _text),
            ("method", _text),
            ("claim", _text),
            ("says", _text),
            ("source", _text),
            ("table", _text),
            ("value", _real),
            ("ci_low", _real),
            ("ci_high", _real),
            ("bound", _text),
            ("control", _text),
            ("control_value", _real),
            ("n", _int),
            ("exact", _flag),
            ("p_for", _real),
            ("p_against", _real),
            ("p_holm", _real),
            ("verdict", _text),
            ("note", _text),
        ]
    ),
    # one row: a figure of the paper, or of ours for a model that the paper lacks; NaN where there is none
    "paper_vs_ours": pa.schema(
        [
            ("item", _text),
            ("model", _text),
            ("method", _text),
            ("split", _text),
            ("mask", _text),
            ("relation", _text),
            ("metric", _text),
            ("paper", _real),
            ("paper_spread", _real),
            ("ours", _real),
            ("ci_low", _real),
            ("ci_high", _real),
            ("n", _int),
            ("difference", _real),
            ("within", _text),
        ]
    ),
    # one row: a layer; onemask.measuring.key_energy.key_energy defines both numbers
    "key_energy": pa.schema([("layer", _int), ("common_energy", _real), ("cosine", _real), ("subjects", _int)]),
    # one row: an output dimension of the edited matrix; keep: which of its d_mlp weights stay, one bit each on disk
    "mask_structure": pa.schema([("dimension", _int), ("pruned", _real), ("keep", pa.list_(_flag))]),
    # one row: a measured value; every table for readers is made of these
    "measures": pa.schema(
        [
            ("model", _text),
            ("method", _text),
            ("mask", _text),
            ("split", _text),
            ("seed", _int),
            ("metric", _text),
            ("value", _real),
            ("ci_low", _real),
            ("ci_high", _real),
            ("n", _int),
            ("relation", _text),
        ]
    ),
}
