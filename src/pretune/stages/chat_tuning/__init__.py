"""Stage 5 for conversations: a language model learns to reply."""
