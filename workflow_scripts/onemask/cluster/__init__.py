"""What became of the jobs that a run has sent to a cluster."""
