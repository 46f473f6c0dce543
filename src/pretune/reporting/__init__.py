"""Terminal displays: each one shows a part of the trace of a run, and a live line shows the events of a stage at work."""
