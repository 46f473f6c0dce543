"""From token shards to the files of other tools, with only some documents in memory at a time."""
