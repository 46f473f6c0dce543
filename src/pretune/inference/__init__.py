"""From a model folder to labels, probabilities, missing words, continuations and replies."""
