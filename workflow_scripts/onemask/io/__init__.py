"""Files, logs and the hash of code: what every room writes and reads with."""
