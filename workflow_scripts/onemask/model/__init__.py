"""A causal language model by its parts: tokens, forward pass in two halves, edits as data, scores of facts."""
