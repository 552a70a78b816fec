"""A run's configuration: files, schemas, checks."""
