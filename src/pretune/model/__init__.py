"""The transformer, its configuration, its cost, and its folder on disk."""
