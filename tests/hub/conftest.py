from collections.abc import Iterator

import pytest

from gunshot.hub.console.roles import Role
from tests.hub.console import Scene
from tests.hub.fleet import Fleet


@pytest.fixture
def scene(tmp_path) -> Scene:
    """A hub's database with a reviewer, anna; other files have a scene of their own."""
    scene = Scene(tmp_path / "hub")
    scene.person("anna", Role.reviewer)
    return scene


@pytest.fixture
def fleet(tmp_path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.engine.dispose()
