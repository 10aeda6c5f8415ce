"""Check the installation and recommend what to do. The checks are grouped by subject and listed in `registry`."""
