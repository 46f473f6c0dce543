"""Quiz, practice and test of a run in the terminal."""
