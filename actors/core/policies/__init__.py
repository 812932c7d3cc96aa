"""The tree of policies: what each node allows now, and why not more."""
