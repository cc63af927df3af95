"""Text: read as tokens, and its examples."""
