"""Terminal displays: each shows a part of the trace of a run, and a live line the events of a stage at work."""
