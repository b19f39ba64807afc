"""Orders at the hub alone: who may ask for what, how an answer's parts become a clip, and what is not taken in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import sqlalchemy as sql
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gunshot.device import answers, orders, outgoing, parts
from gunshot.device.parts import End, Refusal
from gunshot.device.ring import Ring
from gunshot.device.topics import Birth
from gunshot.hub import database, intake
from gunshot.hub import orders as asked
from gunshot.signing import keys
from tests.flows.prefect_server import postgresql
from tests.hub.test_intake import BIRTH, FIRST, NOW, SR, a_database, refusals, rows, take

KEY = Ed25519PrivateKey.generate()
PCM = np.random.default_rng(0).integers(-3000, 3000, 5 * SR).astype(np.int16)
WHO = {"reason": "a shot", "person": "ada"}


def ask(engine: sql.Engine, span: asked.Span, *, now: datetime = NOW, **who) -> orders.Order:
    with engine.begin() as connection:
        id = asked.ask(connection, KEY, "roof", span, now=now, **{**WHO, **who})
    (row,) = (each for each in rows(engine, database.ORDER) if each["id"] == id)
    return orders.verify(row["payload"], KEY.public_key())


def reply(engine: sql.Engine, sound: Path, payload: bytes, *, now: datetime = NOW) -> parts.PartAcknowledgement | None:
    with engine.begin() as connection:
        return asked.reply(connection, "roof", payload, now=now, sound=sound)


def due(engine: sql.Engine, sound: Path, now: datetime) -> list[bytes]:
    with engine.begin() as connection:
        return [payload for _, payload in asked.due(connection, now=now, sound=sound)]


def states(engine: sql.Engine) -> list[str]:
    return [row["state"] for row in rows(engine, database.ORDER)]


def answered(folder: Path, order: orders.Order, blocks: list[int]) -> list[bytes]:
    """All that a device replies to an order after the first of some blocks of PCM, by number."""
    birth = Birth(**BIRTH.model_dump() | {"session": order.session})
    (folder / orders.KEY).write_bytes(keys.public_pem(KEY))
    ring, out, at = Ring(SR), {}, 0
    device = answers.Answers(folder, birth, ring, gate=None, error_us=lambda: None)
    for i, size in enumerate(blocks):
        ring.push(PCM[at : at + size])
        at += size
        if not i:
            device.take(orders.sign(order, KEY))
        device.pump()
        for payload in device.outgoing():
            said = parts.decode(payload)[0]
            out[said.number] = payload
            device.acknowledged(parts.PartAcknowledgement(order=order.id, number=said.number).encode())
    device.pump()
    left = len(device)
    device.close()
    assert not left, "the device has nothing more to say"
    return [out[number] for number in sorted(out)]


@st.composite
def cuts(draw) -> tuple[int, int, list[int]]:
    """A span of PCM, and the blocks in which a device hears it."""
    start, stop = sorted(draw(st.lists(st.integers(0, len(PCM)), min_size=2, max_size=2, unique=True)))
    edges = sorted({*draw(st.lists(st.integers(max(1, start), len(PCM)), max_size=5)), len(PCM)})
    return start, stop, np.diff([0, *edges]).tolist() + [0] * outgoing.WINDOW


@pytest.mark.slow
@given(cuts(), st.randoms(use_true_random=False))
def test_parts_in_any_order_and_number_are_the_samples(tmp_path_factory, cut, random):
    start, stop, blocks = cut
    engine, sound = a_database(), tmp_path_factory.mktemp("sound")
    order = ask(engine, asked.Span(start, stop, (stop - start) / SR, session=3))
    replies = answered(sound, order, blocks)
    sent = random.sample(replies, len(replies)) + random.choices(replies, k=3)
    for payload in sent:
        said = parts.decode(payload)[0]
        assert reply(engine, sound, payload) == parts.PartAcknowledgement(order=order.id, number=said.number)
    assert states(engine) == ["complete"] and rows(engine, database.PART) == []
    (clip,) = rows(engine, database.CLIP)
    written, sr = sf.read(sound / clip["file"], dtype="int16")
    assert sr == SR and np.array_equal(written, PCM[start:stop])
    assert (clip["session"], clip["start"], clip["samples"]) == (3, start, stop - start)


@pytest.fixture
def engine() -> sql.Engine:
    return a_database()


SPAN = asked.Span(SR, 3 * SR, 2.0, session=3)


def test_what_breaks_off_is_written_as_far_as_it_came(engine, tmp_path):
    """After the time in which the device keeps the rest; what comes later is acknowledged, and changes nothing."""
    replies = answered(tmp_path, ask(engine, SPAN), [len(PCM)])
    for number in (0, 1, 3):
        reply(engine, tmp_path, replies[number])
    assert due(engine, tmp_path, NOW + asked.GIVE_UP) == [] and states(engine) == ["open"]
    due(engine, tmp_path, NOW + asked.GIVE_UP + timedelta(seconds=1))
    (order,) = rows(engine, database.ORDER)
    assert (order["state"], order["note"]) == ("cut off", "no more came") and rows(engine, database.PART) == []
    for payload in replies:
        assert reply(engine, tmp_path, payload) is not None
    (clip,) = rows(engine, database.CLIP)
    assert np.array_equal(sf.read(tmp_path / clip["file"], dtype="int16")[0], PCM[SR : 2 * SR])
    assert rows(engine, database.PART) == []


def test_an_order_is_sent_until_it_is_answered_or_expires(engine, tmp_path):
    order = ask(engine, SPAN)
    later = [NOW + timedelta(seconds=s) for s in (0, 1, 6, 61)]
    assert [len(due(engine, tmp_path, now)) for now in later] == [1, 0, 1, 0]
    assert states(engine) == ["expired"]
    replies = answered(tmp_path, order, [len(PCM)])
    reply(engine, tmp_path, replies[0], now=later[-1])  # the device took it in time; its link was broken
    assert states(engine) == ["open"] and due(engine, tmp_path, later[-1]) == []
    for payload in replies:
        reply(engine, tmp_path, payload, now=later[-1])
    assert states(engine) == ["complete"]


def test_a_revoked_device_gets_no_order_and_its_sound_is_refused(engine, tmp_path):
    replies = answered(tmp_path, ask(engine, SPAN), [len(PCM)])
    with engine.begin() as connection:
        connection.execute(sql.update(database.DEVICE).values(revoked_at=NOW))
    assert due(engine, tmp_path, NOW) == [] and reply(engine, tmp_path, replies[0]) is None
    (row,) = rows(engine, database.REFUSED)
    assert "it is revoked since" in row["reason"] and rows(engine, database.PART) == []


def test_a_refusal_ends_an_order_that_is_open(engine, tmp_path):
    first, second = ask(engine, SPAN), ask(engine, SPAN)
    refused = parts.encode(Refusal(order=first.id, reason="expired: too late\n"))
    assert reply(engine, tmp_path, refused) is None
    for payload in answered(tmp_path, second, [len(PCM)]):
        reply(engine, tmp_path, payload)
    reply(engine, tmp_path, parts.encode(Refusal(order=second.id, reason="replayed: it was taken before")))
    ends = {row["id"]: (row["state"], row["note"]) for row in rows(engine, database.ORDER)}
    assert ends == {first.id: ("refused", "expired: too late\\n"), second.id: ("complete", None)}


def test_samples_other_than_the_device_hashed_are_not_complete(engine, tmp_path):
    order = ask(engine, SPAN)
    *replies, _ = answered(tmp_path, order, [len(PCM)])
    for payload in (*replies, parts.encode(End(order=order.id, number=len(replies), sha256="0" * 64))):
        reply(engine, tmp_path, payload)
    (row,) = rows(engine, database.ORDER)
    assert (row["state"], row["note"]) == ("cut off", "its parts are not those that the device hashed")


def test_what_nobody_asked_for_is_refused_without_its_sound(engine, tmp_path):
    order = ask(engine, SPAN)
    first, *_ = answered(tmp_path, order, [len(PCM)])
    head, _, content = first.partition(b"\n")
    said = parts.decode(first)[0]
    other = said.model_copy(update={"order": "b" * 32})
    short = said.model_copy(update={"samples": 1})
    last = said.model_copy(update={"start": orders.MOST})  # after which no database counts: it would end the hub
    slow = said.model_copy(update={"sr": 1})
    for payload, words in (
        (b"", "reply "),
        (parts.encode(slow, content), "reply ('part', 'sr'): Input should be greater than or equal to 8000"),
        (b"\xff" * 100_000, "reply "),
        (head + b"\n" + content[:-1] + b"x", "part 0: its sha256 must be"),
        (parts.encode(other, content), f"order={'b' * 32} must be one of this hub's to roof"),
        (parts.encode(short, content), "part 0 must be FLAC of 1 int16 samples at 16000 Hz"),
        (parts.encode(last, content), f"part 0: start={orders.MOST} must leave 8000 samples"),
    ):
        assert reply(engine, tmp_path, payload) is None
        assert any(reason.startswith(words) for reason in refusals(engine)), refusals(engine)
    kept = [row["payload"] for row in rows(engine, database.REFUSED)]
    assert len(kept) == 7 and all(b"fLaC" not in payload and len(payload) <= 1000 for payload in kept)
    assert rows(engine, database.PART) == [] and states(engine) == ["open"]


def test_who_may_ask_for_what(engine):
    with engine.begin() as connection:
        connection.execute(sql.insert(database.DEVICE), [{"name": "board", "number": 8}])
        board = BIRTH.model_copy(update={"name": "board", "number": 8, "capabilities": ["log_mel", "onsets"]})
        intake.birth(connection, "board", board.encode(), now=NOW)
    for device, span, who, words in (
        ("cellar", SPAN, WHO, "device=cellar must be enrolled"),
        ("board", SPAN, WHO, "device=board must keep sound; it says that it has log_mel, onsets"),
        ("roof", asked.of_time(NOW, 60.5), WHO, "seconds=60.5 must be above 0, and 60 at most"),
        ("roof", asked.of_time(NOW, 0), WHO, "seconds=0 must be above 0"),
        ("roof", SPAN, WHO | {"reason": " "}, "reason=' ' must say something"),
        ("roof", SPAN, WHO | {"person": ""}, "person='' must say something"),
    ):
        with pytest.raises(ValueError, match=words), engine.begin() as connection:
            asked.ask(connection, KEY, device, span, now=NOW, **who)
    assert rows(engine, database.ORDER) == []


def test_the_span_of_an_incident(engine):
    assert take(engine, intake.messages.encode(FIRST)) is not None
    with engine.connect() as connection:
        assert asked.of_incident(connection, "roof", 3, 1, sr=SR) == asked.Span(0, 56_000, 3.5, 3, 1)
        assert asked.of_incident(connection, "roof", 3, 1, sr=SR, seconds=9) == asked.Span(0, 9 * SR, 9, 3, 1)
        with pytest.raises(ValueError, match="incident=3/2 must be one of roof's"):
            asked.of_incident(connection, "roof", 3, 2, sr=SR)
    assert asked.of_time(datetime(1970, 1, 2, tzinfo=UTC), 0.5) == asked.Span(
        86_400_000_000, 86_400_500_000, 0.5, by_time=True
    )


def test_old_clips_are_deleted_but_those_that_somebody_kept(engine, tmp_path):
    for age in (31, 31, 29):
        now = NOW - timedelta(days=age)
        for payload in answered(tmp_path, ask(engine, SPAN, now=now), [len(PCM)]):
            reply(engine, tmp_path, payload, now=now)
    kept = rows(engine, database.CLIP)[0]["file"]
    old = {row["file"] for row in rows(engine, database.CLIP) if row["written_at"].day == 29}
    with engine.begin() as connection:
        connection.execute(sql.update(database.CLIP).where(database.CLIP.c.file == kept).values(kept=True))
    with engine.begin() as connection:
        gone = asked.purge(connection, tmp_path, keep_days=30, now=NOW)
    assert set(gone) == old - {kept}
    with engine.begin() as connection:
        assert asked.purge(connection, tmp_path, keep_days=30, now=NOW) == []
        listed = {row["file"] for row in asked.listing(connection)}
    assert {path.name for path in tmp_path.glob("*.flac")} == listed - {None} and len(states(engine)) == 3


def test_sound_with_silence_where_people_spoke_says_so(engine, tmp_path):
    *replies, end = answered(tmp_path, ask(engine, SPAN), [len(PCM)])
    said, content = parts.decode(replies[-1])
    replies[-1] = parts.encode(said.model_copy(update={"withheld": True}), content)
    for payload in (*replies, end):
        reply(engine, tmp_path, payload)
    (row,) = rows(engine, database.ORDER)
    assert (row["state"], row["note"]) == ("complete", "speech: 0.5 s are silence")


def test_two_persons_sign_what_speech_is_in(engine):
    persons = {name: Ed25519PrivateKey.generate() for name in ("anna", "ben")}
    known = {name: key.public_key() for name, key in persons.items()}
    order = ask(engine, SPAN._replace(incident=4), overrulers=persons)
    assert orders.overruled_by(order, known) == ["anna", "ben"]
    with engine.connect() as connection:
        assert asked.listing(connection)[-1]["overruled"] == ["anna", "ben"]
    alone = {"anna": persons["anna"]}
    spans = (SPAN._replace(incident=4), alone), (SPAN, persons), (asked.of_time(NOW, 1, incident=4), persons)
    for span, some in spans:
        with pytest.raises(ValueError, match=r"overrule=anna.* must be 2 persons, for an incident's sound"):
            ask(engine, span, overrulers=some)


@pytest.mark.slow
def test_postgresql_does_the_same(tmp_path):
    with postgresql() as url:
        for test in (
            test_what_breaks_off_is_written_as_far_as_it_came,
            test_an_order_is_sent_until_it_is_answered_or_expires,
            test_a_refusal_ends_an_order_that_is_open,
            test_old_clips_are_deleted_but_those_that_somebody_kept,
        ):
            engine, sound = a_database(url.replace("+asyncpg", "")), tmp_path / test.__name__
            sound.mkdir()
            test(engine, sound)
        engine.dispose()
