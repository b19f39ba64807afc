"""The main system: it takes in what devices send, commits it to a database, acknowledges it, and locates shots."""
