"""Stage 5: further training on the task."""
