"""From rows by fact to tables, claims and captions for readers."""
