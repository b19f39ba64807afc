"""Decisions and logins on a database alone: which state a case is in, who still waits, how long a login lasts."""

import contextlib
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import argon2
import numpy as np
import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as st

from gunshot.device.messages import Heartbeat, Near
from gunshot.hub import database
from gunshot.hub.console import decisions, details, fleet, listing, live, maps, people, sound
from gunshot.hub.console.decisions import Kind, State
from gunshot.hub.console.noise import Noise
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CASE, DECISION, LOGIN, PERSON
from tests.flows.prefect_server import postgresql
from tests.hub.console import HOUR, SR, Scene

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
WORDS = st.tuples(st.integers(-5, 5).filter(bool), st.sampled_from(Kind), st.sampled_from(["anna", "ben"]))


@functools.cache
def connect() -> sql.Engine:
    engine = database.engine("sqlite://")
    database.DATA.create_all(engine)
    return engine


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(people, "HASHER", cheap)
    monkeypatch.setattr(people, "NOBODY", cheap.hash(""))


def an_empty_database() -> sql.Engine:
    with connect().begin() as connection:
        for table in reversed(database.DATA.sorted_tables):
            connection.execute(sql.delete(table))
        people_ = [{"name": name, "role": "reviewer", "password": "", "disabled": False} for name in ("anna", "ben")]
        connection.execute(sql.insert(PERSON), people_)
    return connect()


def a_case(connection: sql.Connection, raised_at: datetime | None) -> None:
    row = {"number": 1, "exercise": False, "opened_at": NOW - HOUR, "raised_at": raised_at, "changed_at": NOW - HOUR}
    connection.execute(sql.insert(CASE).values(**row, devices=1, shots=1))


@pytest.mark.slow
@given(st.booleans(), st.lists(WORDS, max_size=6).map(lambda words: sorted(words, key=lambda word: word[0])))
def test_the_last_that_decided_holds_and_what_was_said_before_it_was_raised_does_not(raised, words):
    """`words` are said so many seconds after the case is raised, or before."""
    with an_empty_database().begin() as connection:
        a_case(connection, NOW if raised else None)
        for seconds, kind, person in words:
            seen = connection.scalar(sql.select(sql.func.max(DECISION.c.number))) or 0
            label, note = ("door" if kind == Kind.dismiss else ""), ("so" if kind == Kind.note else "")
            at = NOW + seconds * SECOND
            decisions.enter(connection, 1, person, kind, label=label, note=note, seen=seen, now=at)
        (row,) = listing.cases(connection, listing.Filter())
        waits = live.waiting(connection, now=NOW + HOUR)
    said = [word for word in words if word[1] != Kind.note and (word[0] > 0 or not raised)]
    decided = [word for word in said if word[1] != Kind.acknowledge]
    last = decided[-1] if decided else (0, None, None)
    state = {Kind.confirm: State.confirmed, Kind.dismiss: State.dismissed}.get(last[1])
    assert row["state"] == (state or (State.acknowledged if said else State.new))
    assert (row["decided_by"], row["label"]) == (last[2], "door" if last[1] == Kind.dismiss else None)
    assert row["to_acknowledge"] == (said[0][0] * SECOND if raised and said else None)
    assert row["to_decide"] == (decided[0][0] * SECOND if raised and decided else None)
    assert waits["count"] == len(waits["waiting"]) == (raised and not said)


def test_a_case_is_heard_for_ten_minutes_and_waits_for_longer():
    with an_empty_database().begin() as connection:
        a_case(connection, NOW)
        (early,) = live.waiting(connection, now=NOW + 60 * SECOND)["waiting"]
        (late,) = live.waiting(connection, now=NOW + HOUR)["waiting"]
    assert (early["rings_s"], late["rings_s"]) == (540, 0)


def test_the_token_of_a_page_changes_with_each_decision():
    with an_empty_database().begin() as connection:
        a_case(connection, NOW)
        tokens = [live.token(connection)]
        for seen in range(2):
            decisions.enter(connection, 1, "anna", Kind.acknowledge, label="", note="", seen=seen, now=NOW)
            tokens.append(live.token(connection))
        with pytest.raises(decisions.ChangedError, match="somebody else was quicker"):
            decisions.enter(connection, 1, "ben", Kind.confirm, label="", note="", seen=1, now=NOW)
    assert len(set(tokens)) == 3


def test_a_login_lasts_twelve_hours_and_ends_with_a_new_password():
    with an_empty_database().connect() as connection:
        password = people.admit(connection, "carla", Role.admin, now=NOW)
        login = people.log_in(connection, "carla", password, address="a", now=NOW)
        end = NOW + people.LASTS
        assert people.logged_in(connection, login, now=end - SECOND) == people.Person("carla", Role.admin)
        assert people.logged_in(connection, login, now=end) is None
        assert people.logged_in(connection, login + 1, now=NOW) is None
        again = people.admit(connection, "carla", Role.viewer, now=NOW)
        assert again != password and people.logged_in(connection, login, now=NOW) is None
        assert people.log_in(connection, "carla", password, address="a", now=NOW) is None
        login = people.log_in(connection, "carla", again, address="a", now=NOW)
        assert people.logged_in(connection, login, now=NOW).role == Role.viewer
        stored = connection.scalar(sql.select(PERSON.c.password).where(PERSON.c.name == "carla"))
    assert stored.startswith("$argon2id$") and again not in stored


def test_failed_logins_are_limited_by_name_and_address_for_a_while():
    with an_empty_database().connect() as connection:
        password = people.admit(connection, "carla", Role.viewer, now=NOW)

        def log_in(name: str, password: str, address: str, now: datetime) -> int | None:
            return people.log_in(connection, name, password, address=address, now=now)

        for _ in range(people.MOST_FAILED):
            assert log_in("carla", "x", "a", NOW) is None
        with pytest.raises(people.LockedError, match="wait 15 minutes"):
            log_in("carla", password, "a", NOW)
        assert log_in("carla", password, "b", NOW)  # who guesses at one place shuts nobody out at another
        for i in range(people.MOST_FAILED_ADDRESS - people.MOST_FAILED):
            assert log_in(f"x{i}", "x", "a", NOW) is None
        rows = connection.scalar(sql.select(sql.func.count()).select_from(LOGIN))
        with pytest.raises(people.LockedError):
            log_in("anybody", "x", "a", NOW)
        assert connection.scalar(sql.select(sql.func.count()).select_from(LOGIN)) == rows
        assert log_in("carla", password, "a", NOW + people.WINDOW)


def test_failed_logins_do_not_tell_who_has_a_login():
    """A name that nobody has is limited as one that somebody has, and forgotten as soon."""
    with an_empty_database().connect() as connection:
        people.admit(connection, "carla", Role.viewer, now=NOW)
        for name in ("carla", "nobody", "No name"):
            for now in (NOW, NOW + people.WINDOW):
                for _ in range(people.MOST_FAILED):
                    assert people.log_in(connection, name, "x", address=name, now=now) is None
                with pytest.raises(people.LockedError, match="wait 15 minutes"):
                    people.log_in(connection, name, "x", address=name, now=now)
            assert people.log_in(connection, name, "x", address="elsewhere", now=now) is None


@pytest.mark.parametrize("name", ["", "Anna", "a b", "-a", "a" * 64, "a\n"])
def test_what_is_no_name_is_refused(name):
    with an_empty_database().begin() as connection, pytest.raises(ValueError, match="must be lower case letters"):
        people.admit(connection, name, Role.viewer, now=NOW)


@pytest.mark.parametrize(
    ("day", "before", "words"),
    [
        (38.0, 50.0, "perhaps deaf: the noise of the last day is 12 dB below that of the 14 days before"),
        (62.0, 50.0, "hears little beside noise: that of the last day is 12 dB above"),
        (41.0, 50.0, ""),
    ],
)
def test_a_noise_floor_that_left_its_band_is_told(day, before, words):
    noise = dict.fromkeys(range(24), day) | dict.fromkeys(range(24, 300), before)
    noise[3] = 20.0  # one hour is no day
    assert [text[: len(words)] for text in fleet.warnings(noise, None)] == [words] * bool(words)
    few = {hour: level for hour, level in noise.items() if hour >= 20}
    assert fleet.warnings(few, None) == []


def test_noise_is_read_once_and_follows_what_comes(tmp_path):
    scene, noise = Scene(tmp_path / "hub"), Noise(fleet.HOURS)
    at = NOW + 30 * 60 * SECOND
    for after in (0, 1, 2, 5, 400):  # hours; in each the ones before are remembered
        now = at + after * HOUR
        scene.heartbeats("gate", {now - (3 - i) * 60 * SECOND: 50.0 + after + i for i in (0, 1, 5)})
        with scene.writing() as connection:
            levels = noise.levels(connection, "gate", now=now)
            assert levels == Noise(fleet.HOURS).levels(connection, "gate", now=now)
            assert levels[0] == 51.0 + after and noise.levels(connection, "yard", now=now) == {}
    assert set(levels) == {0}


def test_the_last_near_miss_is_looked_for_where_there_are_any_and_no_longer_back_than_noise(tmp_path, monkeypatch):
    scene, codes = Scene(tmp_path / "hub"), np.zeros((71, 32), np.int8)
    old = NOW - timedelta(hours=fleet.HOURS)
    scene.heartbeats("gate", {old - timedelta(minutes=1): 50.0}, near=Near(1, 9), log_mel=codes)
    scene.heartbeats("gate", {NOW: 50.0}, near=Near(1, 0))

    def near() -> Heartbeat | None:
        with database.opened(scene.url) as engine, engine.connect() as connection:
            (gate,) = (one for one in fleet.devices(connection, Noise(fleet.HOURS), now=NOW) if one["name"] == "gate")
            return gate["near"]

    assert near() is None
    scene.heartbeats("gate", {old + timedelta(minutes=1): 50.0}, near=Near(1, 8), log_mel=codes)
    assert near().near.score == 8
    scene.heartbeats("gate", {NOW + timedelta(seconds=1): 50.0}, near=Near(0, 0))  # it has started anew
    monkeypatch.delattr(fleet, "near_miss")  # nobody asks
    assert near() is None


def test_hours_without_noise_part_the_line():
    drawn = fleet.drawing({0: 40.0, 1: 41.0, 5: 44.0})
    assert (drawn["low"], drawn["high"]) == (40, 45)
    assert drawn["lines"] == ["354,9.6 354,9.6", "358,38.4 359,48.0"]
    assert fleet.drawing({}) is None


def at_once(url: str) -> int:
    """Decide on case 3 eight times at once, each time as if it were the first; return how many decisions stay."""
    together = threading.Barrier(8)

    def decide(_: int) -> None:
        with contextlib.suppress(decisions.ChangedError), engine.begin() as connection:
            together.wait()
            decisions.enter(connection, 3, "anna", Kind.confirm, label="", note="", seen=0, now=NOW)

    with database.opened(url) as engine, ThreadPoolExecutor(8) as pool:
        list(pool.map(decide, range(8)))
        with engine.connect() as connection:
            return len(decisions.history(connection, [3]))


@pytest.mark.slow
def test_postgresql_says_what_sqlite_says(tmp_path):
    """A night's cases, devices and decisions, as each page reads them."""

    def night(name: str, url: str | None) -> list:
        scene = Scene(tmp_path / name, url=url)
        scene.person("anna", Role.reviewer)
        scene.case(1, NOW, ("gate", "yard"), place=True)
        scene.case(2, NOW + HOUR, ("fountain",), site=None, raised=False)
        scene.case(3, NOW + HOUR, ("gate", "yard"))
        scene.session("gate", online=True, heard_at=NOW)
        scene.heartbeats("gate", {NOW - i * HOUR: 50.0 + i for i in range(30)}, stuck=1)
        scene.decide(1, "anna", Kind.acknowledge, NOW + SECOND)
        scene.decide(1, "anna", Kind.dismiss, NOW + 2 * SECOND, label="door", seen=1)
        wanted = listing.Filter(site="school", state="dismissed", first="2026-03-01", last="2026-03-01")
        with scene.writing() as connection:
            sound.keep(connection)
            rows, devices = listing.cases(connection, wanted), fleet.devices(connection, Noise(fleet.HOURS), now=NOW)
            return [
                rows, listing.cases(connection, listing.Filter()), listing.count(connection, wanted),
                live.waiting(connection, now=NOW + HOUR), live.token(connection)[-3:],
                live.is_quiet(connection, now=NOW + 2 * HOUR, living=HOUR), maps.shown(connection, rows, site="school"),
                details.case(connection, 1, sr=SR, living=HOUR), details.root(connection, 1),
                details.case(connection, 2, sr=SR, living=HOUR)["missed"],
                [one | {"session": one["session"] and one["session"].online} for one in devices],
                people.logged_in(connection, 1, now=NOW),
                people.log_in(connection, "anna", "x", address="a", now=NOW),
            ]  # fmt: skip

    with postgresql() as url:
        there = night("postgresql", url.replace("+asyncpg", ""))
        assert at_once(url.replace("+asyncpg", "")) == 1
    here = night("sqlite", None)
    assert at_once(f"sqlite:///{tmp_path}/sqlite/hub.sqlite") == 1
    assert there == here and here[2] == 1 and here[3]["count"] == 1 and here[9] == []
