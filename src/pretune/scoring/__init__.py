"""From predictions to figures with their intervals, and from labelled texts to linear baselines; without torch."""
