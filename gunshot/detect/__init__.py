"""Windows of any audio, as it arrives, to onsets."""
