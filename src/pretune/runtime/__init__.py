"""The foundation of every layer: folders with manifests, the event log, workers, named random numbers."""
