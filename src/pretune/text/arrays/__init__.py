"""Many texts and words at once, as numpy arrays."""
