"""Gunshots and soundscapes from physics: sources, the scene they sound in, the microphone that hears them."""

from gunshot.simulate.corpus import SHOT, Corpus, Recording, fire, render, write

__all__ = ["SHOT", "Corpus", "Recording", "fire", "render", "write"]
