"""What a run takes before it runs: operations, memory, disk."""
