"""Gunshots and soundscapes from physics: sources, the scene they sound in, the microphone that hears them."""

from gunshot.simulate.corpus import Corpus, Recording, fire, render, write

__all__ = ["Corpus", "Recording", "fire", "render", "write"]
