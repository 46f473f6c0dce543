"""The built-in corpus: synthetic text about a small world, with labels and facts that can be checked."""
