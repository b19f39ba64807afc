"""Prefect's own test server, which the files of a process share."""

import importlib

import pytest


@pytest.fixture(scope="session")
def prefect(tmp_path_factory):
    """A server on SQLite, with a home of its own, on which this process's flows run.

    A test that stops a server, or that asks what all of its runs are, starts its own (tests/flows/prefect_server.py).
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.delenv("PREFECT_API_URL", raising=False)
        importlib.import_module("flows")  # first: it sets variables that Prefect reads
        from prefect.testing.utilities import prefect_test_harness

        with prefect_test_harness(server_startup_timeout=None):
            yield
