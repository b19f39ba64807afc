import pytest
from hypothesis import settings

from tests.firmware.driven import Driver

settings.register_profile("firmware", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("firmware")


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """The firmware's C behind a pipe, under sanitizers."""
    pipe = Driver(tmp_path_factory.mktemp("driver"))
    yield pipe
    pipe.close()
