"""What is long, or needs the cross compiler, is slow as well: `-m "not slow"` is the quick part, whatever is there."""

from hypothesis import settings

# A shared machine's pauses are no fault of the code; thirty examples keep the whole quick.
settings.register_profile("unit", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("unit")


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("long") or item.get_closest_marker("firmware"):
            item.add_marker("slow")
