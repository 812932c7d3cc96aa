"""A whole pool in one thread on virtual time: the real core, store, codec and client protocol over an invented network.

`bin/simulate --seed N` runs one world; the same seed always gives the same history.
"""
