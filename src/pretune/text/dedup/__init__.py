"""Documents that share words: MinHash signatures, candidate pairs, contamination."""
