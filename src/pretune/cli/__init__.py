"""The command line: one verb per stage, options made from the stages' settings; nothing heavy is imported for `--help`."""
