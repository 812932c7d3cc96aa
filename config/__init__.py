"""Settings: schema, loading, defaults, and the tree of policies."""
