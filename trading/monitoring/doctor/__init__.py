"""What works, what does not, and what to do about it: one small check a file, listed in `registry`."""
