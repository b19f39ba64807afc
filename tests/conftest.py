"""What is long, or needs the cross compiler, is slow as well: `-m "not slow"` is the quick part, whatever is there."""


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("long") or item.get_closest_marker("firmware"):
            item.add_marker("slow")
