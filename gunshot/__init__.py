"""From a pile of wav files to a gunshot detector on a microcontroller."""
