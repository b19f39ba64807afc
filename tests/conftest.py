"""What is long, exhaustive or of a board is slow too: `-m "not slow"` is the quick part, whatever is there."""

from hypothesis import settings

from tests.sampling import SEED

# A shared machine's pauses are no fault of the code; thirty examples keep the whole quick.
settings.register_profile("unit", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("unit")


def pytest_report_header():
    return f"TEST_SEED={SEED}: repeats this run's samples of the exhaustive sweeps"


def pytest_collection_modifyitems(items):
    for item in items:
        if any(map(item.get_closest_marker, ("long", "firmware", "exhaustive"))):
            item.add_marker("slow")
