"""onemask: reproduce, check and extend "One Mask to Rule Them All" (arXiv 2605.28839)."""

__version__ = "0.1.0"
