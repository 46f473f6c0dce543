"""One section of the terminal's report each, made from events."""
