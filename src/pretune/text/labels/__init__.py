"""Labelled rows: read, checked, split once, and handed on with the label names."""
