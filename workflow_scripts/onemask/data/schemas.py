"""Tables of facts and corpora: one declared schema each."""

from onemask.io.schema import FACT, FLAG, REAL, TEXT, TEXTS, Schema

# one row: a fact of CounterFact's record schema (method.md section 1)
FACTS = Schema(
    "facts",
    (
        *FACT,
        ("subject", TEXT),
        ("prompt", TEXT),
        ("target_true", TEXT),
        ("target_new", TEXT),
        ("paraphrases", TEXTS),
        ("neighborhood", TEXTS),
    ),
)

# one row: a document of the corpus; part is "statistics" or "perplexity"
CORPUS = Schema(
    "corpus",
    (
        ("part", TEXT),
        ("title", TEXT),
        ("text", TEXT),
    ),
)

# one row: a fact of one split, scored by the unedited model (natural logarithms, summed over the target's tokens)
KNOWLEDGE = Schema(
    "knowledge",
    (
        *FACT,
        ("split", TEXT),
        ("logp_true", REAL),
        ("logp_new", REAL),
        ("known", FLAG),
    ),
)
