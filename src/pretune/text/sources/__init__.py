"""From paths, patterns, archives and names of public data sets to files of a known format."""
