"""Terminal displays: each one is a fold over the event log and reads nothing else."""
