"""Places of cases: where devices heard a shot, in whatever order; why there is none; what is worked out anew."""

import itertools
import json
import math
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as st

from gunshot.device import messages, parts, run
from gunshot.device.messages import Clock, State
from gunshot.device.parts import PART, Part
from gunshot.hub import clips, database, intake, places, sites
from tests.flows.prefect_server import postgresql
from tests.hub.test_fusion import DEGREE_M, a_message, a_site, cases, take
from tests.hub.test_intake import FIRST, NOON_US, NOW, SR, a_database, rows

SPOTS = [(0, 0), (300, 20), (280, 310), (-30, 290), (140, -250)]  # of devices, m east and north of where degrees are 0
SHOT, SOUND = (120.0, 100.0), 340.3  # m, m/s: at the temperature that is assumed where none is read
NOWHERE = Path("nowhere")  # the folder of clips, where there are none


@pytest.fixture
def engine() -> sql.Engine:
    engine = a_database()
    with engine.begin() as connection:
        sites.put(connection, "yard", devices_needed=2, exercise=False)
        for i, (east, north) in enumerate(SPOTS):
            connection.execute(sql.insert(database.DEVICE).values(name=f"d{i}", number=100 + i))
            at = {"latitude": north / 110_574.0, "longitude": east / DEGREE_M}
            sites.move(connection, f"d{i}", site="yard", **at)
    return engine


def heard_s(device: int) -> float:
    """When a device hears the shot, s after it."""
    return math.dist(SPOTS[device], SHOT) / SOUND


def place(engine: sql.Engine, count: int = 1, *, sound: Path = NOWHERE) -> dict:
    """The first case of so many, after what was due is done."""
    places.work(engine, sound, Event())
    listed = cases(engine)
    assert len(listed) == count and not any(case["place_due"] for case in listed)
    return listed[0]


def test_the_order_of_messages_changes_no_place(engine):
    """Four devices give one that is checked, within a metre of the shot."""
    seen = []
    for order in itertools.islice(itertools.permutations(range(4)), 0, None, 8):
        with engine.begin() as connection:
            for table in (database.ONSET, database.INCIDENT, database.MESSAGE, database.CASE):
                connection.execute(sql.delete(table))
        for device in order:
            take(engine, a_message(device, heard_s(device)))
        case = place(engine)
        assert math.dist((case["longitude"] * DEGREE_M, case["latitude"] * 110_574.0), SHOT) < 1
        seen.append((case["latitude"], case["longitude"], case["place"]))
    assert len(seen) == 3 and seen[0] == seen[1] == seen[2]
    feature = seen[0][2]
    assert feature["geometry"]["type"] == "Polygon" and feature["properties"]["checked"]
    assert feature["properties"]["left_out"] == {} and case["no_place"] is None


@pytest.mark.parametrize(("way_us", "is_placed"), [(run.WAY_US, True), (run.DELAY_US, False)])
def test_a_device_counts_for_a_place_where_its_sound_card_says_when(engine, way_us, is_placed):
    """With a clock that chrony knows to 5 ms: four have a place within 100 m."""
    for device in range(4):
        clock = Clock(NOON_US + round(1e6 * heard_s(device)), 5000 + way_us)
        take(engine, a_message(device, 0.0, clock=clock))
    assert (place(engine)["latitude"] is not None) == is_placed


def test_a_site_s_temperature_makes_the_ellipse_smaller(engine):
    axes = []
    for temperature_c in (None, 15.0):
        with engine.begin() as connection:
            sites.put(connection, "yard", devices_needed=2, exercise=False, temperature_c=temperature_c)
            connection.execute(sql.update(database.CASE).values(place_due=True))
        for device in range(4) if temperature_c is None else ():
            take(engine, a_message(device, heard_s(device)))
        axes.append(place(engine)["place"]["properties"]["half_axes_m"][0])
    assert axes[1] < axes[0]
    with engine.begin() as connection, pytest.raises(ValueError, match=r"temperature_c=288\.0 must be from -90 to 60"):
        sites.put(connection, "yard", devices_needed=2, exercise=False, temperature_c=288.0)


def test_a_device_without_time_or_place_is_named_and_not_used(engine):
    with engine.begin() as connection:
        connection.execute(sql.update(database.DEVICE).where(database.DEVICE.c.name == "d3").values(latitude=None))
    for device in range(4):
        take(engine, a_message(device, heard_s(device), **({"clock": None} if device == 4 else {})))
    take(engine, a_message(4, 0.0, clock=None))
    case = place(engine)
    properties = case["place"]["properties"]
    assert case["devices"] == 5 and case["latitude"] is not None and not properties["checked"]
    assert set(properties["residuals_ms"]) == {"d0", "d1", "d2"}
    assert properties["left_out"] == {
        "d3": "where it stands is not known", "d4": "its clock is not disciplined"
    }  # fmt: skip


def test_why_there_is_no_place(engine):
    take(engine, a_message(0, 0.0, clock=None))
    assert "no device" in place(engine)["no_place"] and place(engine)["place"] is None
    take(engine, a_message(0, 0.0, sequence=1))
    take(engine, a_message(1, heard_s(1)))
    case = place(engine)
    assert case["no_place"] == "2 devices with a disciplined clock: 3 or more must hear a shot"
    assert case["latitude"] is None and case["place"]["geometry"] is None


LATITUDE = st.sampled_from([-89.0, 0.0, 47.0, 47.0001, 89.0]) | st.floats(-89, 89)
LONGITUDE = st.sampled_from([-180.0, 8.0, 8.0001, 179.9999, 180.0]) | st.floats(-180, 180)


@pytest.mark.slow
@given(
    devices=st.lists(
        st.tuples(st.integers(0, 10**6), st.integers(0, 2**32 - 1), LATITUDE, LONGITUDE), min_size=3, max_size=4
    )
)
def test_wherever_devices_stand_there_is_a_place_or_a_reason(devices):
    """Somebody may write a degree wrong; the hub goes on, and what it writes is JSON."""
    onsets = tuple((f"d{i}", NOON_US + us, False, *more) for i, (us, *more) in enumerate(devices))
    columns = places._located.__wrapped__(onsets, (), None)
    json.dumps(columns, allow_nan=False)
    assert (columns["latitude"] is None) == bool(columns["no_place"]) == (columns["place"]["geometry"] is None)


def test_only_what_changes_first_onsets_is_located_anew(engine, monkeypatch):
    counted = []
    locate = places.locate
    monkeypatch.setattr(places, "locate", lambda *a, **more: counted.append(1) or locate(*a, **more))
    places._located.cache_clear()
    for device in range(3):
        take(engine, a_message(device, heard_s(device)))
    before = place(engine)
    assert len(counted) == 1  # of three alerts that came before it was worked out
    take(engine, a_message(0, 5.0, sequence=1, state=State.CLOSED, shots=2, decided=16_000 + 80_000), late_s=1)
    assert rows(engine, database.CASE)[0]["place_due"]
    after = place(engine)
    assert len(counted) == 1 and after["place"] == before["place"] and after["changed_at"].second == 1


def test_a_message_that_comes_meanwhile_leaves_it_due(engine, monkeypatch):
    for device in range(3):
        take(engine, a_message(device, heard_s(device)))
    inner = places._place
    monkeypatch.setattr(places, "_place", lambda *a: take(engine, a_message(3, heard_s(3)), late_s=1) or inner(*a))
    places.work(engine, NOWHERE, Event())
    monkeypatch.undo()
    (case,) = rows(engine, database.CASE)
    assert case["place_due"] and case["place"] is None
    assert set(place(engine)["place"]["properties"]["residuals_ms"]) == {"d0", "d1", "d2", "d3"}


LATE_S = (0.003, -0.002, 0.003, -0.003, 0.002)  # by which devices tell the shot's onset wrong


def bring(engine: sql.Engine, folder: Path, device: int, pcm: np.ndarray, *, start: int = 0) -> None:
    """Let the sound of a device come, by an order, from a sample on."""
    id = f"{device:032x}"
    with engine.begin() as connection:
        order = {"id": id, "device": f"d{device}", "seconds": 2.0, "reason": "a bang", "person": "anna", "payload": b""}
        order |= {"issued_at": NOW, "expires_at": NOW, "state": "open"}
        connection.execute(sql.insert(database.ORDER).values(order))
        said = [
            Part(order=id, number=i, session=FIRST.session, start=start + at, samples=len(pcm[at : at + PART]), sr=SR,
                 sha256="0" * 64)
            for i, at in enumerate(range(0, len(pcm), PART))
        ]  # fmt: skip
        replies = [(one, parts.to_flac(pcm[i * PART : (i + 1) * PART], SR)) for i, one in enumerate(said)]
        clips.sound(connection, id, replies, folder=folder, now=NOW)


def bang(late_s: float, seed: int) -> np.ndarray:
    """Two seconds of a device in which the shot sounds at FIRST's onset, but for so much, in noise of its own."""
    tones = np.random.default_rng(0).uniform([300, 0], [5000, 2 * np.pi], (150, 2))
    pcm = np.random.default_rng(seed).normal(0, 100, 2 * SR)
    at = np.arange(FIRST.onset - 200, FIRST.onset + 3000)
    after_s = (at[:, None] - FIRST.onset) / SR - late_s
    shot = np.sin(2 * np.pi * tones[:, 0] * after_s + tones[:, 1]) * np.exp(-after_s / 0.05)
    pcm[at] += 200 * np.where(after_s > 0, shot, 0).sum(axis=1)
    return np.round(pcm).astype(np.int16)


def tell_wrong(engine: sql.Engine) -> None:
    """Let five devices, whose clocks are right, tell a shot's onsets wrong."""
    with engine.begin() as connection:
        sites.put(connection, "yard", devices_needed=2, exercise=False, temperature_c=15.0)
    for device, late_s in enumerate(LATE_S):
        take(engine, a_message(device, 0.0, clock=Clock(NOON_US + round(1e6 * (heard_s(device) + late_s)), 200)))


def off_m(case: dict) -> float:
    return math.dist((case["longitude"] * DEGREE_M, case["latitude"] * 110_574.0), SHOT)


def test_sound_that_was_asked_for_makes_a_place_finer(engine, tmp_path):
    """The fourth device's is of another sound, and its onset stays as it was told."""
    tell_wrong(engine)
    seen = [place(engine, sound=tmp_path)]
    for device, late_s in enumerate(LATE_S):
        other = np.random.default_rng(9).normal(0, 3000, 2 * SR).astype(np.int16)
        bring(engine, tmp_path, device, other if device == 3 else bang(-late_s, device))
        assert rows(engine, database.CASE)[0]["place_due"]
        if device in (1, 4):  # two sounds say too little
            seen.append(place(engine, sound=tmp_path))
    axis = [case["place"]["properties"]["half_axes_m"][0] for case in seen]
    assert seen[1]["place"] == seen[0]["place"] and axis[2] < axis[0] and off_m(seen[2]) < min(0.5, off_m(seen[0]))


def test_a_clip_that_is_gone_or_holds_too_little_makes_nothing_finer(engine, tmp_path, caplog):
    tell_wrong(engine)
    before = place(engine, sound=tmp_path)
    for device in range(3):
        late = device == 2  # its clip begins in the midst of what is compared
        start = FIRST.onset - 100 if late else 0
        bring(engine, tmp_path, device, bang(-LATE_S[device], device)[start:], start=start)
    assert place(engine, sound=tmp_path)["place"] == before["place"] and caplog.text == ""
    bring(engine, tmp_path, 3, bang(-LATE_S[3], 3))
    next(tmp_path.glob("*3.flac")).write_bytes(b"no FLAC")
    assert place(engine, sound=tmp_path)["place"] == before["place"] and "no finer onset" in caplog.text


def test_sound_that_comes_meanwhile_leaves_it_due(engine, tmp_path, monkeypatch):
    for device in range(3):
        take(engine, a_message(device, heard_s(device)))
    inner = places._place
    monkeypatch.setattr(places, "_place", lambda *a: bring(engine, tmp_path, 0, bang(0.0, 0)) or inner(*a))
    places.work(engine, tmp_path, Event())
    monkeypatch.undo()
    assert rows(engine, database.CASE)[0]["place_due"]
    assert place(engine, sound=tmp_path)["latitude"] is not None


@pytest.mark.slow
def test_on_postgresql_places_wait_for_no_case_that_the_intake_has():
    """Places go from the newest case down, an intake from the oldest up: whoever waits for the other ends the hub."""
    with postgresql() as url:
        engine = a_site(url.replace("+asyncpg", ""))
        for number in (1, 2):
            take(engine, a_message(0, 100.0 * number, incident=number, sequence=number))
        with engine.begin() as connection:
            connection.execute(sql.text(f"ALTER DATABASE {engine.url.database} SET lock_timeout = '5s'"))
        engine.dispose()  # what connects from now on gives up, and does not wait for ever

        def due() -> list[bool]:
            return [case["place_due"] for case in cases(engine)]

        with engine.begin() as connection:
            for number in (1, 2):
                closed = a_message(0, 100.0 * number, incident=number, sequence=number + 2, state=State.CLOSED)
                sent = [("d0", messages.encode(closed))]
                assert all(intake.alerts(connection, sent, now=NOW, sr=SR))
                if number == 1:
                    places.work(engine, NOWHERE, Event())
                    assert due() == [True, False]
        assert due() == [True, True]
        places.work(engine, NOWHERE, Event())
        assert due() == [False, False]
        engine.dispose()
