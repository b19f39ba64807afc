"""Keys that sign, and a record whose lines are chained by their hashes."""
