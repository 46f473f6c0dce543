"""The command line: one verb per stage, options made from the stages' settings; `--help` imports nothing heavy."""
