"""Gunshots and soundscapes from physics: sources, the scene they sound in, the microphone that hears them."""
