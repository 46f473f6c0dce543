"""Labelled rows: read, checked, split once, and passed on with the label names."""
