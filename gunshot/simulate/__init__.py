"""Gunshots and soundscapes from physics: sources, the scene they sound in, the microphone that hears them."""

from gunshot.simulate.corpus import EVENT, SHOT, Corpus, Recording, fire, render, write

__all__ = ["EVENT", "SHOT", "Corpus", "Recording", "fire", "render", "write"]
