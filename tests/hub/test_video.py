"""Video at the hub on a database alone: who may ask for it, how parts become a file, what is shown, kept, refused."""

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import sqlalchemy as sql

from gunshot.device import parts
from gunshot.device.orders import Kind
from gunshot.device.parts import End, Part, Refusal, VideoPart
from gunshot.hub import database, intake
from gunshot.hub import orders as asked
from gunshot.hub.console import live, sound
from gunshot.hub.console.decisions import Kind as Decision
from gunshot.hub.console.roles import Role
from gunshot.hub.database import ORDER, VIDEO
from gunshot.signing import keys
from tests.hub.console import Scene
from tests.hub.test_intake import BIRTH, NOW, a_database, refusals, rows
from tests.hub.test_orders import SPAN, ask, due, reply, states

PIECES = [b"ftyp and moov", b"first moof", b"second moof", b"third"]


@pytest.fixture
def engine() -> sql.Engine:
    """A hub to which the device said that it has a camera."""
    engine = a_database()
    with engine.begin() as connection:
        birth = BIRTH.model_copy(update={"capabilities": ["sound", "video"]})
        intake.birth(connection, "roof", birth.encode(), now=NOW)
    return engine


def order(engine: sql.Engine, seconds: float = 30.0) -> str:
    said = ask(engine, asked.of_time(NOW, seconds, session=3, incident=1, kind=Kind.video))
    assert (said.kind, said.session, said.stop - said.start) == (Kind.video, None, seconds * 1e6)
    return said.id


def answered(id: str, pieces: list[bytes] = PIECES, note: str = "") -> list[bytes]:
    """What a device replies: its parts, and their end."""
    out = [
        parts.encode(VideoPart(order=id, number=i, sha256=hashlib.sha256(piece).hexdigest()), piece)
        for i, piece in enumerate(pieces)
    ]
    whole = hashlib.sha256(b"".join(pieces)).hexdigest()
    return [*out, parts.encode(End(order=id, number=len(pieces), sha256=whole, note=note))]


def file_of(engine: sql.Engine, folder) -> bytes:
    (video,) = rows(engine, VIDEO)
    content = (folder / video["file"]).read_bytes()
    assert video["file"].endswith(".mp4") and video["bytes"] == len(content)
    assert video["sha256"] == hashlib.sha256(content).hexdigest()
    return content


def test_parts_in_any_order_and_number_are_the_file(engine, tmp_path):
    id = order(engine)
    replies = answered(id)
    for number in (2, 0, 0, 4, 3, 2, 1, 1):
        assert reply(engine, tmp_path, replies[number]) == parts.PartAcknowledgement(order=id, number=number)
    assert states(engine) == ["complete"] and rows(engine, database.PART) == []
    assert file_of(engine, tmp_path) == b"".join(PIECES)
    with engine.connect() as connection:
        (row,) = asked.listing(connection)
    assert (row["kind"], row["file"], row["incident"]) == ("video", f"{id}.mp4", 1)


def test_what_breaks_off_is_written_as_far_as_it_came(engine, tmp_path):
    replies = answered(order(engine))
    for number in (0, 1, 3):
        reply(engine, tmp_path, replies[number])
    due(engine, tmp_path, NOW + asked.GIVE_UP + timedelta(seconds=1))
    assert states(engine) == ["cut off"] and file_of(engine, tmp_path) == b"".join(PIECES[:2])


@pytest.mark.parametrize(
    ("spoilt", "note"),
    [
        (lambda replies, id: answered(id, note="of its camera: it has ended"), "of its camera: it has ended"),
        (
            lambda replies, id: [*replies[:-1], parts.encode(End(order=id, number=4, sha256="0" * 64))],
            "its parts are not those that the device hashed",
        ),
    ],
)
def test_a_camera_that_ended_or_bytes_that_are_others_are_said(engine, tmp_path, spoilt, note):
    id = order(engine)
    for payload in spoilt(answered(id), id):
        reply(engine, tmp_path, payload)
    (row,) = rows(engine, ORDER)
    assert (row["state"], row["note"]) == ("cut off", note) and file_of(engine, tmp_path) == b"".join(PIECES)


def test_what_nobody_asked_for_is_refused_without_it(engine, tmp_path):
    id, heard = order(engine), ask(engine, SPAN).id
    flac = parts.to_flac(np.ones(8, np.int16), 16_000)
    head = {"order": id, "number": 0, "sha256": hashlib.sha256(flac).hexdigest()}
    for payload, words in (
        (parts.encode(Part(**head, session=3, start=0, samples=8, sr=16_000), flac), "part 0 must be of video, as "),
        (answered(heard)[0], f"part 0 must be of sound, as order={heard} asks"),
        (answered(id)[0] + b"x", "part 0: its sha256 must be"),
        (answered(id)[0].replace(b'"number":0', b'"number":8192'), "reply "),
    ):  # fmt: skip
        assert reply(engine, tmp_path, payload) is None
        assert any(reason.startswith(words) for reason in refusals(engine)), (words, refusals(engine))
    kept = b"".join(row["payload"] for row in rows(engine, database.REFUSED))
    assert PIECES[0] not in kept and flac not in kept and rows(engine, database.PART) == []


def test_an_answer_is_no_longer_than_any_can_be(engine, tmp_path, monkeypatch):
    """Of video 64 MiB and a last picture; of sound what its samples have where FLAC makes none smaller."""
    monkeypatch.setattr(parts, "MOST_VIDEO", 100_000)
    monkeypatch.setattr(asked, "OF_A_PICTURE", 0)
    video, long = answered(order(engine), [b"a" * 60_000, b"b" * 40_000, b"c" * 3000]), []
    heard = ask(engine, asked.Span(16_000, 16_000 + 9000, 9000 / 16_000, session=3)).id
    noise = np.random.default_rng(0).integers(-(2**15), 2**15, 8000).astype(np.int16)
    for number in range(2):
        flac = parts.to_flac(noise, 16_000)
        head = {"order": heard, "number": number, "sha256": hashlib.sha256(flac).hexdigest()}
        long.append(parts.encode(Part(**head, session=3, start=16_000 + 8000 * number, samples=8000, sr=16_000), flac))
    for replies, last, most in ((video, 2, 103_000), (long, 1, 20_000)):
        for payload in (*replies[:last], replies[0]):
            assert reply(engine, tmp_path, payload) is not None
        assert reply(engine, tmp_path, replies[last]) is None
        assert any(
            reason.startswith(f"part {last}: the answer to ") and f" must be {most} bytes at most, not " in reason
            for reason in refusals(engine)
        )
    assert len(rows(engine, database.PART)) == 3 and states(engine) == ["open", "open"]


def test_only_a_device_that_says_that_it_has_a_camera_is_asked(engine):
    """One of before would take the order for one for sound."""
    with pytest.raises(ValueError, match=r"seconds=60\.5 must be above 0, and 60 at most"):
        order(engine, 60.5)
    bare = a_database()
    for capabilities, words in (
        (None, "device=roof must have a camera; it says that it has nothing"),
        (["sound"], "device=roof must have a camera; it says that it has sound"),
    ):
        with bare.begin() as connection:
            if capabilities:
                birth = BIRTH.model_copy(update={"capabilities": capabilities})
                intake.birth(connection, "roof", birth.encode(), now=NOW)
        with pytest.raises(ValueError, match=words):
            order(bare)
    assert rows(bare, ORDER) == []


def test_what_is_shown_follows_what_was_shown_without_a_hole(engine, tmp_path):
    id = order(engine)
    replies = answered(id)

    def shown(count: int) -> list[bytes] | None:
        with engine.connect() as connection:
            return sound.shown(connection, id, count)

    assert shown(0) == []
    for number in (1, 0, 3):
        reply(engine, tmp_path, replies[number])
    assert (shown(0), shown(1), shown(2)) == (PIECES[:2], PIECES[1:2], [])
    for number in (2, 4):
        reply(engine, tmp_path, replies[number])
    assert shown(4) is None and shown(0) is None


def test_a_video_of_a_confirmed_case_stays_and_others_go_when_they_are_old(tmp_path):
    scene, at = Scene(tmp_path / "hub"), datetime(2026, 3, 1, 12, tzinfo=UTC)
    scene.person("anna", Role.reviewer)
    folder = scene.folder / "sound"
    scene.session("gate", online=True, heard_at=at, has=("sound", "video"))
    with scene.writing() as connection:
        (key, ids) = keys.load(scene.folder / "authority" / "order.pem"), []
        before = live.token(connection)
    for case in (1, 2):
        scene.case(case, at, ("gate",))
        with scene.writing() as connection:
            span = asked.of_time(at, 30, session=1, incident=case, kind=Kind.video)
            ids.append(asked.ask(connection, key, "gate", span, reason="help", person="anna", now=at))
            for payload in answered(ids[-1]):
                asked.reply(connection, "gate", payload, now=at, sound=folder)
    scene.decide(1, "anna", Decision.confirm, at)
    with scene.writing() as connection:
        assert live.token(connection) != before
        before = live.token(connection)
        sound.keep(connection)
        assert asked.purge(connection, folder, keep_days=30, now=at + timedelta(days=31)) == [f"{ids[1]}.mp4"]
        assert live.token(connection) != before and [path.stem for path in folder.iterdir()] == ids[:1]
        ((kept,), (gone,)) = (sound.ordered(connection, "gate", 1, case) for case in (1, 2))
        assert kept["clip"] == {"bytes": 39, "kept": True, "deleted_at": None} and kept["live"]
        assert gone["clip"]["deleted_at"] and [kept["kind"], kept["words"]] == ["video", "complete"]
        refused = asked.ask(connection, key, "gate", span, reason="help", person="anna", now=at + asked.RESEND)
        said = Refusal(order=refused, reason="camera: Connection refused")
        asked.reply(connection, "gate", parts.encode(said), now=at, sound=folder)
        words = sound.ordered(connection, "gate", 1, 2)[-1]["words"]
    assert words == "refused: its camera shows nothing - Connection refused"
