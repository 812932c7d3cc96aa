"""A host's own brain: its session, its slots, and what it owes its supervisor. Pure, like all of the core."""
