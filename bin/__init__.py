"""The programs, and the command line's code."""
