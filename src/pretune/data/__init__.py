"""From token shards and labelled rows to batches: row packing, masks and order, all functions of the seed."""
