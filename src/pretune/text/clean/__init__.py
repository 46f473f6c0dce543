"""What is done to one text: repair, quality rules, language, personal data."""
