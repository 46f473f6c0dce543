"""One prediction taken apart, layer by layer, into numbers that add up."""
