from hypothesis import settings

# A shared machine's pauses are no fault of the code; thirty examples keep the whole quick.
settings.register_profile("unit", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("unit")
