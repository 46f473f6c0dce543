"""From token shards to the files of other tools, some documents at a time; from models to what a page carries."""
