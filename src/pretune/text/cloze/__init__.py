"""Cloze: a pattern puts a text beside a [MASK], and a word for each label stands for it there."""
