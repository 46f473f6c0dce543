"""The work of stage 1: documents of every source, divided among workers, and the report on what was read."""
