"""Token shards in the formats of other tools; nothing is held in memory but some documents at a time."""
