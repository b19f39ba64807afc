"""Fusion: what one sound can explain is one case, whatever order messages come in; what raises, merges, takes apart."""

import dataclasses
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as st

from gunshot.device import messages
from gunshot.device.messages import Clock, Incident, Opinion, Profile, State
from gunshot.hub import database, intake, places, sites
from tests.flows.prefect_server import postgresql
from tests.hub.test_intake import FIRST, NOON_US, NOW, SR, a_database, rows

DEGREE_M = 111_320.0  # of longitude, at the equator
APART_M = 300.0  # devices stand in a line, but for the last, whose place is not known
PLACED, SLOW, REACH_M = 3, 319.0, 1500.0
ERROR_US = 2_000
NEEDED = 2


def a_site(url: str = "sqlite://", *, needed: int = NEEDED, exercise: bool = False) -> sql.Engine:
    """A database with a site, whose devices d0, d1... have the numbers 100, 101..."""
    engine = a_database(url)
    with engine.begin() as connection:
        sites.put(connection, "yard", devices_needed=needed, exercise=exercise)
        for i in range(PLACED + 1):
            connection.execute(sql.insert(database.DEVICE).values(name=f"d{i}", number=100 + i))
            latitude, longitude = (0.0, i * APART_M / DEGREE_M) if i < PLACED else (None, None)
            sites.move(connection, f"d{i}", site="yard", latitude=latitude, longitude=longitude)
    return engine


def a_message(device: int, at_s: float, *, incident: int = 1, sequence: int = 0, **more) -> Incident:
    """A message of one onset, so many seconds after noon."""
    clock = Clock(NOON_US + round(1e6 * at_s), ERROR_US)  # of `decided`, which is the onset
    values = {
        "device": 100 + device,
        "incident": incident,
        "sequence": sequence,
        "decided": FIRST.onset,
        "clock": clock,
    }
    return dataclasses.replace(FIRST, **values | more)


def take(engine: sql.Engine, *together: Incident, late_s: float = 0.0) -> None:
    sent = [(f"d{message.device - 100}", messages.encode(message)) for message in together]
    with engine.begin() as connection:
        assert all(intake.alerts(connection, sent, now=NOW + timedelta(seconds=late_s), sr=SR))


def cases(engine: sql.Engine) -> list[dict]:
    """The cases that are merged into no other."""
    return [row for row in rows(engine, database.CASE) if row["merged_into"] is None]


def members(engine: sql.Engine, case: dict) -> frozenset:
    """A case's incidents that are not withdrawn, by number of device and own number."""
    own = [row for row in rows(engine, database.INCIDENT) if row["case"] == case["number"]]
    return frozenset((int(row["device"][1:]), row["incident"]) for row in own if row["state"] != State.WITHDRAWN)


def grouping(engine: sql.Engine) -> dict[frozenset, tuple[int, bool]]:
    """Of each case's incidents, where there are any: how many devices have it, and whether it is raised."""
    out = {members(engine, row): (row["devices"], row["raised_at"] is not None) for row in cases(engine)}
    return {group: value for group, value in out.items() if group}


@dataclasses.dataclass(frozen=True)
class Heard:
    """An incident of a scenario: its device, its onsets in s after noon, whether the device knew the time."""

    device: int
    number: int
    onsets: tuple[float, ...]
    knows: bool
    withdrawn: bool

    def messages(self, sequence: int) -> list[Incident]:
        """One for each onset, the last of which may withdraw it."""
        states = [State.OPENED] + [State.UPDATED] * (len(self.onsets) - 1)
        states += [State.WITHDRAWN] if self.withdrawn else []
        out = []
        for i, state in enumerate(states):
            onset = self.onsets[min(i, len(self.onsets) - 1)]
            samples = {"onset": 16_000, "decided": 16_000 + round((onset - self.onsets[0]) * SR)}
            more = samples | {"state": state, "shots": i + 1, "onsets": (samples["decided"],)}
            more |= {} if self.knows else {"clock": None}
            out.append(a_message(self.device, onset, incident=self.number, sequence=sequence + i, **more))
        return out

    @property
    def span(self) -> tuple[float, float]:
        if not self.knows:
            return -10.0, 0.0
        return self.onsets[0] - ERROR_US / 1e6, self.onsets[-1] + ERROR_US / 1e6

    def fits(self, other: "Heard") -> bool:
        """Whether one sound can explain both, by the rule as a person would say it."""
        if self.device == other.device or self.withdrawn or other.withdrawn:
            return False
        placed = max(self.device, other.device) < PLACED
        way_m = APART_M * abs(self.device - other.device) if placed else REACH_M
        (a, b), (c, d) = self.span, other.span
        return max(a, c) - min(b, d) <= way_m / SLOW + 0.1


@st.composite
def scenarios(draw) -> list[Heard]:
    """Incidents of a site's devices within 20 seconds; times lie on a grid that no rule's limit lies on."""
    out, seen = [], dict.fromkeys(range(PLACED + 1), 0)
    for _ in range(draw(st.integers(1, 6))):
        device = draw(st.integers(0, PLACED))
        seen[device] += 1
        start, more = draw(st.integers(-60, 60)) / 4, draw(st.integers(0, 2))
        onsets = tuple(start + 0.5 * i for i in range(more + 1))
        out.append(
            Heard(device, seen[device], onsets, draw(st.booleans()), draw(st.sampled_from([False] * 5 + [True])))
        )
    return out


def explained(heard: list[Heard]) -> dict[frozenset, tuple[int, bool]]:
    """What `grouping` must give, by following links from incident to incident."""
    left, out = [one for one in heard if not one.withdrawn], {}
    while left:
        group, edge = [], [left[0]]
        while edge:
            one = edge.pop()
            left.remove(one)
            group.append(one)
            edge += [other for other in left if one.fits(other) and other not in edge]
        devices = len({one.device for one in group})
        out[frozenset((one.device, one.number) for one in group)] = devices, devices >= NEEDED
    return out


def sent(heard: list[Heard]) -> list[Incident]:
    """All messages of a scenario, each device's of one session in their order."""
    out, sequence = [], dict.fromkeys(range(PLACED + 1), 0)
    for one in heard:
        own = one.messages(sequence[one.device])
        sequence[one.device] += len(own)
        out += own
    return out


@pytest.mark.slow
@given(heard=scenarios(), data=st.data())
def test_any_order_repetition_and_grouping_gives_the_same_cases(heard, data):
    """What was raised before some of it was withdrawn stays raised, which hangs on the order, and on that alone."""
    scenario = sent(heard)
    again = data.draw(st.lists(st.sampled_from(scenario), max_size=3))
    engine = a_site()
    left = data.draw(st.permutations(scenario + again))
    while left:
        together = data.draw(st.integers(1, len(left)))
        take(engine, *left[:together])
        left = left[together:]
    got, expected = grouping(engine), explained(heard)
    assert {group: devices for group, (devices, _) in got.items()} == {group: n for group, (n, _) in expected.items()}
    assert all(got[group][1] for group, (_, raised) in expected.items() if raised)
    if not any(one.withdrawn for one in heard):
        assert got == expected
    shots = {(one.device, one.number): len(one.onsets) for one in heard}
    for group in expected:
        by_device = [sum(shots[key] for key in group if key[0] == device) for device, _ in group]
        assert max(by_device) == next(row["shots"] for row in cases(engine) if members(engine, row) == group)


# The sound takes 0.94 s over 300 m in the coldest air; two clocks may be off by 4 ms, and a way be 0.1 s longer.
@pytest.mark.parametrize(("device", "limit_s"), [(1, 1.0446), (2, 1.9852), (3, 4.807)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_devices_are_linked_as_far_as_sound_takes_between_them(device, limit_s, sign):
    for apart_s, count in ((limit_s - 0.005, 1), (limit_s + 0.005, 2)):
        engine = a_site()
        take(engine, a_message(0, 0.0))
        take(engine, a_message(device, sign * apart_s))
        assert len(cases(engine)) == count


def test_a_burst_is_linked_by_its_last_onset_too_whichever_message_comes_first():
    first, last = Heard(0, 1, (0.0, 5.0), knows=True, withdrawn=False).messages(0)
    for order in ((first, last), (last, first)):
        for at_s, count in ((6.03, 1), (6.06, 2)):
            engine = a_site()
            for message in (*order, a_message(1, at_s)):
                take(engine, message)
            assert len(cases(engine)) == count


@pytest.mark.parametrize(("late_s", "count"), [(0.0, 1), (11.0, 1), (11.1, 2)])
def test_a_device_that_does_not_know_the_time_is_linked_by_when_its_message_came(late_s, count):
    """By the first that came: a later one may have waited long."""
    engine = a_site()
    take(engine, a_message(0, 0.0))
    take(engine, a_message(1, 0.0, clock=None), late_s=late_s)
    take(engine, a_message(1, 0.0, clock=None, sequence=1), late_s=3600)
    assert len(cases(engine)) == count


def test_an_incident_between_two_cases_merges_them_into_the_older():
    """Also a third that was merged before, so that whoever has its number finds the case; raised when the first was."""
    engine = a_site()
    for i, (device, at_s) in enumerate([(0, 0.0), (2, 3.0), (0, 6.0), (1, 6.0)]):
        take(engine, a_message(device, at_s, incident=i + 1, sequence=i), late_s=i)
    first, second, third = cases(engine)
    assert [row["raised_at"] for row in (first, second)] == [None, None] and third["raised_at"]
    take(engine, a_message(3, 6.0), late_s=10)
    assert [row["merged_into"] for row in rows(engine, database.CASE)] == [None, None, 2]
    take(engine, a_message(3, 1.5, incident=2, sequence=1), late_s=20)
    assert [row["merged_into"] for row in rows(engine, database.CASE)] == [None, 1, 1]
    (case,) = cases(engine)
    assert (case["devices"], case["raised_at"], case["opened_at"]) == (4, third["raised_at"], first["opened_at"])
    assert case["changed_at"].second == 20 and {row["case"] for row in rows(engine, database.INCIDENT)} == {1}


def test_what_a_verifier_says_is_nothing_that_was_heard():
    """So no case that was decided has changed since; but what comes with it has."""
    engine = a_site()
    take(engine, a_message(0, 0.0))
    alone = {"opinion": Opinion(255, 9, 1), "profile": Profile(254), "log_mel": None, "clock": None, "onsets": ()}
    take(engine, a_message(0, 0.0, sequence=1, **alone), late_s=5)
    (incident,) = rows(engine, database.INCIDENT)
    assert (incident["opinion"], incident["profile"]) == (9, f"{254:016x}")
    assert [case["changed_at"].second for case in cases(engine)] == [0]
    take(engine, a_message(0, 0.0, sequence=2, shots=2, **alone), late_s=6)
    assert [case["changed_at"].second for case in cases(engine)] == [6]


@pytest.mark.slow
def test_postgresql_fuses_as_sqlite_does():
    """Cases that are opened, merged, taken apart and located, and one that is withdrawn."""
    scenario = [a_message(device, at_s, sequence=i, incident=i + 1)
                for i, (device, at_s) in enumerate([(0, 0.0), (2, 3.0), (0, 6.0), (1, 6.0), (3, 1.5)])]  # fmt: skip
    scenario += [a_message(device, 100.0 + device / 2, sequence=9, incident=9, clock=None) for device in (0, 1, 2)]
    scenario += [a_message(0, -600.0, sequence=10, incident=9), a_message(1, 0.0, sequence=10, incident=9, state=3)]
    with postgresql() as url:
        engines = a_site(), a_site(url.replace("+asyncpg", ""))
        for engine in engines:
            for i, message in enumerate(scenario):
                take(engine, message, late_s=i)
            places.work(engine, Path("nowhere"), Event())
        for table in (database.CASE, database.INCIDENT):
            a, b = (
                [{k: v for k, v in row.items() if not k.endswith("_at")} for row in rows(e, table)] for e in engines
            )
            assert a == b
        assert grouping(engines[0]) == grouping(engines[1]) and len(cases(engines[0])) < len(
            rows(engines[0], database.CASE)
        )
        engines[1].dispose()


def test_a_clock_that_comes_late_takes_a_case_apart():
    """What was raised stays so; it keeps its number and its other devices."""
    engine = a_site(needed=3)
    for device in (0, 1, 3):
        take(engine, a_message(device, -1.0, clock=None))
    (case,) = cases(engine)
    assert case["devices"] == 3 and case["raised_at"] and case["unix_us"] is None
    take(engine, a_message(0, -600.0, sequence=1, state=State.CLOSED), late_s=5)
    assert grouping(engine) == {frozenset({(1, 1), (3, 1)}): (2, True), frozenset({(0, 1)}): (1, False)}
    old, new = cases(engine)
    assert old["number"] == case["number"] and old["raised_at"] == case["raised_at"]
    assert new["unix_us"] == NOON_US - 600_000_000 and new["error_us"] == ERROR_US


def test_a_case_of_which_all_is_withdrawn_stays_and_has_no_device():
    engine = a_site(needed=1)
    take(engine, a_message(0, 0.0))
    take(engine, a_message(0, 0.0, sequence=1, state=State.WITHDRAWN), late_s=3)
    (case,) = cases(engine)
    assert (case["devices"], case["shots"], case["unix_us"]) == (0, 0, None)
    assert case["raised_at"] and case["changed_at"].second == 3


def test_a_device_without_a_site_decides_alone():
    engine = a_site()
    with engine.begin() as connection:
        connection.execute(sql.update(database.DEVICE).where(database.DEVICE.c.name != "d0").values(site=None))
    for device in (0, 1, 2):
        take(engine, a_message(device, 0.0))
    assert [(row["site"], row["devices"], bool(row["raised_at"])) for row in cases(engine)] == [
        ("yard", 1, False), (None, 1, True), (None, 1, True)
    ]  # fmt: skip


def test_what_a_device_heard_stays_with_the_site_where_it_heard_it():
    engine = a_site()
    take(engine, a_message(0, 0.0))
    with engine.begin() as connection:
        sites.put(connection, "hall", devices_needed=1, exercise=None)
        sites.move(connection, "d0", site="hall", latitude=None, longitude=None)
    take(engine, a_message(0, 0.0, sequence=1, state=State.CLOSED))
    take(engine, a_message(1, 0.5))
    (case,) = cases(engine)
    assert (case["site"], case["devices"]) == ("yard", 2)


def test_a_drill_is_one_of_its_site_when_it_opened_and_a_shot_makes_it_none():
    engine = a_site(needed=1, exercise=True)
    take(engine, a_message(0, 0.0))
    with engine.begin() as connection:
        sites.put(connection, "yard", devices_needed=1, exercise=False)
    take(engine, a_message(0, 0.1, sequence=1, state=State.CLOSED))
    assert [row["exercise"] for row in cases(engine)] == [True]
    take(engine, a_message(2, 3.0))
    assert [row["exercise"] for row in cases(engine)] == [True, False]
    take(engine, a_message(3, 1.5))
    assert [row["exercise"] for row in cases(engine)] == [False]


@pytest.mark.parametrize(
    ("move", "words"),
    [
        ({"site": "moon"}, "site=moon must be there; make it with `gunshot hub site`"),
        ({"latitude": 1.0}, "latitude=1.0 and longitude=None must be given together"),
        ({"latitude": 89.5, "longitude": 0.0}, "latitude=89.5 must be from -89 to 89"),
        ({"latitude": float("nan"), "longitude": 0.0}, "latitude=nan must be"),
        ({"latitude": 0.0, "longitude": -180.5}, "longitude=-180.5 must be from -180 to 180"),
    ],
)
def test_what_no_device_can_stand_at_is_refused(move, words):
    engine = a_site()
    before = rows(engine, database.DEVICE)
    with pytest.raises(ValueError, match=words), engine.begin() as connection:
        sites.move(connection, "d0", **dict.fromkeys(("site", "latitude", "longitude")) | move)
    assert rows(engine, database.DEVICE) == before
