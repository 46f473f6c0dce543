"""The trace of a run as one value: the logs of its stages and the files beside them, folded once for every display."""
