"""Topics, births, statuses and acknowledgements: what is written is read, and what is wrong is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gunshot.device import topics
from gunshot.device.place import Place
from gunshot.device.topics import Acknowledgement, Birth, Status

U32 = st.integers(0, 2**32 - 1)


@given(device=U32, session=U32, sequence=U32)
def test_an_acknowledgement_is_three_numbers(device, session, sequence):
    payload = Acknowledgement(device, session, sequence).encode()
    assert payload == b"".join(number.to_bytes(4, "little") for number in (device, session, sequence))
    assert Acknowledgement.decode(payload) == Acknowledgement(device, session, sequence)
    with pytest.raises(ValueError, match="length=11 of an acknowledgement must be 12 bytes"):
        Acknowledgement.decode(payload[1:])


@given(session=U32, online=st.booleans(), dropped=st.none() | st.integers(0, 2**63 - 1))
def test_a_status_is_read_as_it_was_written(session, online, dropped):
    status = Status(session=session, online=online, dropped=dropped)
    assert Status.decode(status.encode()) == status


def test_a_birth_is_read_with_keys_that_are_not_known():
    birth = Birth(
        name="roof", number=7, session=1, model="0" * 16, operating_point=0.5, version=2, capabilities=["clock"]
    )
    assert Birth.decode(birth.encode()) == birth
    board = birth.model_copy(update={"operating_point": None})
    assert Birth.decode(board.encode()) == board
    assert Birth.decode(birth.encode()[:-1] + b', "later": 1}') == birth
    for wrong in (b'"0"', b"7.5", b"null", b"4294967296", b"-1"):
        with pytest.raises(ValueError, match=r"^birth number: Input should"):
            Birth.decode(birth.encode().replace(b'"number":7', b'"number":' + wrong))


@pytest.mark.parametrize("name", ["", "-a", "Roof", "a/b", "a+", "#", "a\n", "ä", "a_b", "a" * 64, "hub", "broker"])
def test_names_that_topics_and_certificates_could_not_have_are_refused(name):
    with pytest.raises(ValueError, match="must be lower case letters"):
        topics.check_name(name)


def test_a_topic_s_parts_are_its_own():
    assert topics.topic(topics.check_name("north-2"), "ack") == "gunshot/v1/north-2/ack"
    assert topics.parts("gunshot/v1/north-2/ack") == ("north-2", "ack")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file; `gunshot hub enrol` makes"), ("host: a", "must hold host, port, name, number"),
        ("{host: a, port: 1, name: Roof, number: 7}", "must be lower case letters"), ("{", "must hold host"),
        ("{host: a, port: 1, name: a, number: 7, x: 1}", "must hold host"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_device_s_is_named(tmp_path, text, words):
    if text is not None:
        (tmp_path / "device.yaml").write_text(text)
    with pytest.raises(ValueError, match=words):
        Place.load(tmp_path)
