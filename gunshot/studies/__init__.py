"""Measurements that a person runs: on own recordings, on sources left out, of simulation, of leakage, of onsets."""
