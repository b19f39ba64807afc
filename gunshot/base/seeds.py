"""Generators seeded from params.yaml."""

import hashlib

import numpy as np


def generator(seed: int, name: str) -> np.random.Generator:
    """Return the Generator of one recording, the same whatever else the corpus holds and in whatever order."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])])
