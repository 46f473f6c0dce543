"""The straight line: each stage reads folders and writes one; no stage imports another."""
