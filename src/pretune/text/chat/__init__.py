"""Conversations: read, checked, split, and encoded with the chat template; without torch."""
