"""What is in production, who decided so, and the proof of both: the one room that talks to Git and GTO.

The record, `models/record.jsonl`, comes first: a line an event, signed, each with the hash of the line before. An event
has happened once its line is there; its commit and its tags follow from it and are made up where a crash left them out.
"""
