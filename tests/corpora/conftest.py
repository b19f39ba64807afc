"""A server on this machine that the tests of downloads share."""

import pytest
import tenacity

from gunshot.corpora import download
from tests.corpora import served


@pytest.fixture(scope="module")
def shared_server():
    server = served.Server()
    yield server
    server.close()


@pytest.fixture
def empty_server(shared_server, monkeypatch):
    """It holds nothing, cuts nothing off, and was asked for nothing; who asks it again need not wait."""
    monkeypatch.setattr(download, "WAIT", tenacity.wait_none())
    shared_server.__dict__.update(bodies={}, cuts={}, busy={}, ranges=True, asked=[])
    return shared_server
