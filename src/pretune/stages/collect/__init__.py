"""Stage 1: read text in any supported format, with its source."""
