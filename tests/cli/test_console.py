"""gunshot hub person and gunshot hub console, as a person types them."""

from datetime import UTC, datetime

import pytest

from gunshot.hub import database, folder
from gunshot.hub.console import people
from gunshot.hub.console.roles import Role
from tests.cli.test_commands import main, project, run  # noqa: F401 - fixtures

NOW = datetime.now(UTC)


@pytest.mark.slow
def test_a_person_is_let_in_and_shut_out(project, monkeypatch, capsys):  # noqa: F811
    run("hub", "init", "hub")
    done = run("hub", "person", "hub", "anna", "--role", "reviewer")
    password = done.stdout.split()[-1]
    assert done.exit_code == 0 and "anna is a reviewer" in done.output and len(password) == 20
    with database.opened(folder.load(project / "hub").database) as engine, engine.connect() as connection:
        login = people.log_in(connection, "anna", password, address="a", now=NOW)
        assert people.logged_in(connection, login, now=NOW) == people.Person("anna", Role.reviewer)
    assert "anna is shut out" in run("hub", "person", "hub", "anna", "--disable").output
    with database.opened(folder.load(project / "hub").database) as engine, engine.connect() as connection:
        assert people.logged_in(connection, login, now=NOW) is None
        assert people.log_in(connection, "anna", password, address="a", now=NOW) is None
    assert "--role must say what the person may do" in run("hub", "person", "hub", "anna").output
    said = main(monkeypatch, capsys, "hub", "person", "hub", "ben", "--disable")
    assert "name=ben must be that of a person; `gunshot hub person` makes one" in said


def test_a_folder_that_is_no_hub_is_told(project, monkeypatch, capsys):  # noqa: F811
    for args in (("console", "none"), ("person", "none", "anna", "--role", "viewer")):
        words = "none/hub.yaml: no such file; make it with `gunshot hub init none`"
        assert words in main(monkeypatch, capsys, "hub", *args)
