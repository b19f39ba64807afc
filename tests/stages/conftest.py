"""The project in a temporary folder: as its sources alone, and after its first run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.stages import project as copies


@pytest.fixture(scope="session")
def fresh(once) -> Callable[[Path], copies.Project]:
    """fresh(folder): a new project there, of the same sources for the whole run."""

    def make(folder: Path) -> None:
        copies.snapshot(folder)
        copies.compare_less(folder)

    sources = once("sources", make)
    shared = once("shared", lambda folder: (folder / "sitecustomize.py").write_text(copies.TRACE))
    return lambda root: copies.fresh(root, sources, shared)


@pytest.fixture(scope="session")
def pipeline(fresh, once) -> copies.Project:
    """A project after its first `dvc repro`, committed; tests copy it before they change anything."""

    def first(folder: Path) -> None:
        project = fresh(folder / "project")
        # Without bytecode: a stage opens its modules' sources then, which the trace shows.
        trace = {"STAGE_TRACE": str(folder / "trace.csv"), "PYTHONDONTWRITEBYTECODE": "1"}
        (folder / "log").write_text(project.repro(**trace))
        project.commit("results")

    folder = once("pipeline", first)
    project = copies.Project(folder / "project", folder.with_name("shared"))
    project.log = (folder / "log").read_text()
    return project
