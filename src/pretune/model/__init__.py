"""The transformer in one plain file, its configuration, and its folder on disk."""
