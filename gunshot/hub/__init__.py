"""The main system: it takes in what devices send, commits it to a database, and acknowledges it."""
