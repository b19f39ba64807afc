"""Detectors on streams: what they find, what they raise falsely, and where they are operated."""
