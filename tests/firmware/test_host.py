"""The host's program: a wav in the microphone's place, the bytes that it writes, and what it refuses."""

import subprocess

import numpy as np
import pytest
import soundfile as sf

from gunshot.detect import listener
from gunshot.device import incidents, parity
from gunshot.device import messages as wire
from gunshot.device.messages import Incident
from tests.firmware import driven
from tests.firmware.driven import MODEL, p, shots

SR = p.audio.sr
IO = 10  # of status.h
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """host(wav): the host port's exit code, what it says, and the messages that it wrote; `more` are arguments."""
    out = tmp_path_factory.mktemp("host")
    program = driven.build_host(out)

    def run(wav, messages=out / "messages", *more):
        messages.unlink(missing_ok=True)
        done = subprocess.run([program, wav, messages, *more], capture_output=True, text=True)
        return done.returncode, done.stderr, wire.decode_all(messages.read_bytes()) if messages.exists() else []

    return run


def street() -> np.ndarray:
    """A simulated street in which guns are fired, and things that sound alike."""
    return parity.recording(sr=SR, duration_s=20.0)


HEARD = {
    "street": (street, 2),
    "burst": (lambda: shots([0.7, 0.8, 0.92, 1.05, 1.2, 2.4], 4.0), 1),
    "two incidents": (lambda: shots([0.7, 0.9, 3.1], 5.0), 2),
    "no end": (lambda: shots([0.7, 0.8], 1.2), 1),
    "quiet": (lambda: shots([], 3.0), 0),
}


@pytest.mark.parametrize("name", HEARD)
def test_the_host_sends_the_bytes_of_python(host, tmp_path, name):
    render, least = HEARD[name]
    pcm = render()
    sf.write(tmp_path / "x.wav", pcm, SR)
    code, said, messages = host(tmp_path / "x.wav", tmp_path / "messages", "4294967295")
    assert (code, said) == (0, "") and messages[-1].heard == len(pcm)
    assert [message.sequence for message in messages] == list(range(len(messages)))
    numbers = [message.sequence for message in messages if isinstance(message, Incident)]  # heartbeats have the others
    ear = listener.Listener(MODEL, [0.0], p)
    source = incidents.Incidents(
        ear, device=0, session=2**32 - 1, sequence=iter(numbers), p=p.firmware,
        model=incidents.model_number(driven.ARTIFACT),
    )  # fmt: skip
    want = source.push(pcm) + source.end()
    data, at = (tmp_path / "messages").read_bytes(), 0
    sent = []
    for message in messages:
        size = len(wire.encode(message))
        sent += [data[at : at + size]] * isinstance(message, Incident)
        at += size
    assert sent == list(map(wire.encode, want)) and at == len(data)
    assert len({message.incident for message in want}) >= least and bool(want) == bool(least)


@pytest.mark.parametrize("session", ["", "x", "-1", "1x", "4294967296", "99999999999999999999999"])
def test_what_is_no_session_is_refused(host, tmp_path, session):
    sf.write(tmp_path / "x.wav", np.zeros(900, np.int16), SR)
    code, said, messages = host(tmp_path / "x.wav", tmp_path / "messages", session)
    assert code == IO and f"{session}: a session must be a number below 2^32" in said and messages == []


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257, 4095])
def test_a_wav_is_heard_as_it_is_however_short(host, tmp_path, n):
    sf.write(tmp_path / "x.wav", np.zeros(n, np.int16), SR)
    code, said, messages = host(tmp_path / "x.wav")
    assert (code, said) == (0, "") and messages[-1].heard == n


@pytest.mark.parametrize(
    ("sr", "channels", "subtype", "words"),
    [
        (48_000, 1, "PCM_16", "rate=48000 Hz, channels=1, bits=16"),
        (SR, 2, "PCM_16", "channels=2"),
        (SR, 1, "PCM_24", "bits=24"),
        (SR, 1, "FLOAT", "bits=32, format=3 must be 16000 Hz, 1, 16, 1 (PCM)"),
    ],
)
def test_another_wav_is_refused_by_what_it_is(host, tmp_path, sr, channels, subtype, words):
    sf.write(tmp_path / "x.wav", np.zeros((900, channels)), sr, subtype=subtype)
    code, said, messages = host(tmp_path / "x.wav")
    assert code == IO and words in said and messages == []


def test_what_is_no_wav_or_cut_short_is_refused(host, tmp_path):
    path = tmp_path / "x.wav"
    assert "no such file" in host(path)[1]
    sf.write(path, np.zeros(900, np.int16), SR)
    whole = path.read_bytes()
    for data, words in ((b"", "must be a wav"), (whole[:43], "must be a wav"), (whole[:-1], "promises 1800 bytes"),
                        (b"RIFX" + whole[4:], "must be a wav"), (bytes(900), "must be a wav")):  # fmt: skip
        path.write_bytes(data)
        code, said, messages = host(path)
        assert code == IO and words in said and messages == []


def test_messages_that_cannot_be_written_are_an_error(host, tmp_path):
    sf.write(tmp_path / "x.wav", np.zeros(900, np.int16), SR)
    code, said, _ = host(tmp_path / "x.wav", tmp_path / "none" / "messages")
    assert code == IO and "cannot be written" in said
