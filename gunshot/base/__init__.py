"""What everything stands on: audio and tables in and out, params, what dvc.yaml says, processes, seeds."""
