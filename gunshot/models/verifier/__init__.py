"""The verifier: a larger network that hears what the detector let through, longer and later, and gives an opinion."""
