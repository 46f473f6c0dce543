"""Stage 1: read text as it is found, with its source."""
