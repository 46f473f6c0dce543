"""Text before it becomes tensors: reading, repairing, filtering, splitting, tokenizing, and the built-in world."""
