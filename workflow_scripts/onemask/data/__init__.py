"""What is edited and read: facts, corpora, and the checkpoints that are fetched."""
