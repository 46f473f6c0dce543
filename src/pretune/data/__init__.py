"""Token shards and labelled rows go in, batches come out: packing, masks and order are functions of the seed."""
