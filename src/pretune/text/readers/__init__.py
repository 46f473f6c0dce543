"""A reader for each format: from a file's bytes to its records or documents."""
