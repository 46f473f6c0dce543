"""The tokenizer: trained, saved, loaded, and fast over many texts."""
