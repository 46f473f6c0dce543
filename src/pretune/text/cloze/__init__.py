"""Cloze: a pattern adds a [MASK] to the text, and the model fills it in with a word that stands for a label."""
