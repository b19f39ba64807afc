"""Logits to scores, and how good scores are."""
