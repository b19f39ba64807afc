"""The project in a temporary folder: as its sources alone, and after its first run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stages import project as copies


@pytest.fixture(scope="session")
def fresh(tmp_path_factory) -> Callable[[Path], copies.Project]:
    """fresh(folder): a new project there."""
    sources, shared = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("shared")
    copies.snapshot(sources)
    return lambda root: copies.fresh(root, sources, shared)


@pytest.fixture(scope="session")
def made(fresh, tmp_path_factory) -> copies.Project:
    """A project after its first `dvc repro`, committed; tests copy it before they change anything."""
    project = fresh(tmp_path_factory.mktemp("made") / "project")
    project.log = project.repro(STAGE_TRACE=str(project.root.parent / "trace.csv"))
    project.commit("results")
    return project
