"""A finished run as one file for reviewers."""
