"""Everything that has a mailbox, and the pure core that decides for it."""
