"""The firmware as seen from Python: its messages, its emulator, its cost, and whether it decides the same."""
