"""Questions about a run: programs over its trace, each with a precondition, and questions about concepts."""
