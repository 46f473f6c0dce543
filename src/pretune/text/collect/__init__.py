"""The work of stage 1: read documents from every source, divide the reading among workers, and report on it."""
