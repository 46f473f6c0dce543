"""From predictions to metrics, intervals and verdicts, and from labelled texts to linear baselines."""
