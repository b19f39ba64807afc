"""What firmware shares with the pipeline, as C that is generated."""
