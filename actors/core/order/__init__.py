"""Which task comes next, and which host gets it: lanes, windows, turns and places."""
