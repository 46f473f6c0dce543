"""What every layer stands on: folders with manifests, the event log, random numbers by name."""
