"""pretune: from raw text and a few labels to a working model, with every stage traced."""
