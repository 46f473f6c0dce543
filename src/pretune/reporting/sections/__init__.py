"""Sections of the terminal report: each takes events or documents and returns lines."""
