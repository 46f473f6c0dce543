"""The page of a run as one HTML file that works offline: markup, styles, script and trace, under a strict policy."""
