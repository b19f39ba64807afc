"""Models of every kind, and what their scores are worth."""
