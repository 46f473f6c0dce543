"""Text before it becomes tensors: reading, repairing, filtering, splitting and tokenizing."""
