"""Cleaning of texts: repair, quality rules, language, personal data."""
