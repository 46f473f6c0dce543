"""From predictions to verdicts, and from a model and a file of labelled texts to its figures."""
