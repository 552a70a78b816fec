"""The command `onemask`."""
