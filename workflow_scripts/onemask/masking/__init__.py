"""The shared mask: its names and settings, how it is trained, and what it is as data."""
