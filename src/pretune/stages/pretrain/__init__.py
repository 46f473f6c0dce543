"""Stage 3: a transformer learns to predict missing words, the next token, or both."""
