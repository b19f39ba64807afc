"""What devices send back: whether it drifts, and which of it to look at first."""
