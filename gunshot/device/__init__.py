"""A device as seen from Python: messages, link to a hub, emulator, cost, and whether it decides the same."""
