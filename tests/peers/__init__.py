"""Comparisons with the programs and libraries that people use today: `make peers` installs them."""
