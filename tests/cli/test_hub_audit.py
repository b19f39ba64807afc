"""gunshot hub audit, as a person types it: what was done, that it is whole, and what was altered."""

import json
import sqlite3
from contextlib import closing

import pytest

from tests.cli.test_commands import main, project, run  # noqa: F401 - fixtures


@pytest.fixture
def hub(project):  # noqa: F811
    run("hub", "init", "hub")
    assert run("hub", "audit", "hub", "--check").output == "no row yet\n"
    run("hub", "enrol", "hub", "roof", "--number", "7")
    run("hub", "person", "hub", "anna", "--role", "viewer")
    return project / "hub" / "hub.sqlite"


def alter(file, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(statement)
        connection.commit()


@pytest.mark.slow
def test_it_lists_what_was_done_and_checks_it(hub, monkeypatch, capsys):
    lines = [json.loads(line) for line in run("hub", "audit", "hub").output.splitlines()]
    assert [(line["number"], line["kind"], line["row"]["name"]) for line in lines] == [
        (1, "device", "roof"), (2, "person", "anna")
    ]  # fmt: skip
    done = run("hub", "audit", "hub", "--check")
    known = f"2:{lines[1]['sha256']}"
    assert done.exit_code == 0 and done.stdout.splitlines() == [
        "2 rows are as they were written. Keep this elsewhere, for --known:", f"  {known}"
    ]  # fmt: skip
    assert run("hub", "audit", "hub", "--check", "--known", known).exit_code == 0
    alter(hub, "UPDATE person SET role = 'admin'")
    done = run("hub", "audit", "hub", "--check")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "error: table person, name anna: role must be as in audit row 2\n"
    alter(hub, "DELETE FROM audit WHERE number = 2")
    alter(hub, "DELETE FROM person")
    assert run("hub", "audit", "hub", "--check").exit_code == 0  # nobody can see that
    done = run("hub", "audit", "hub", "--check", "--known", known)
    assert done.exit_code == 1 and "audit row 2: it must have the hash" in done.stderr


def test_a_hash_that_is_none_is_refused(hub):
    for known in ("2", "x:ab", "2:"):
        done = run("hub", "audit", "hub", "--check", "--known", known)
        assert done.exit_code == 2 and "must be NUMBER:HASH" in done.stderr.replace("\n", " ")


def test_a_hash_that_nothing_is_compared_with_is_refused(hub):
    done = run("hub", "audit", "hub", "--known", "2:ab")
    assert (done.exit_code, done.stdout) == (2, "") and "needs --check" in done.stderr.replace("\n", " ")
