"""Stage 2: repair, filter, deduplicate; train the tokenizer; write token shards."""
