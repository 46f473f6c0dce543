"""The live page: a server on loopback that shows a run while it goes on, and traces what the reader types."""
