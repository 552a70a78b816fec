"""What edits and masks do to a model, by fact: reversal, perplexity, blocking, pruning."""
