"""From a model folder to labels, probabilities and missing words."""
