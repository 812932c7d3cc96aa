"""Who may do what in a pool that other machines can reach, within which bounds, and what is written down of it."""
