"""The steps of stage 2, each a function of some shards, so that an engine can run them in parallel."""
