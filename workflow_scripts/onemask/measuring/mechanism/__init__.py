"""Four looks into the model at the last prompt position, each with the same signature."""
