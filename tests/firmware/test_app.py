"""The application: shots as Python's listener tells them, whatever happens to microphone, clock, model and port."""

import struct
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gunshot import features
from gunshot.base import audio
from gunshot.detect import listener, measures
from gunshot.device import incidents
from gunshot.device import messages as wire
from gunshot.device.messages import Detector, Heartbeat, Incident, State
from gunshot.simulate import corpus
from tests.firmware import driven
from tests.firmware.driven import MODEL, p, shots

SR, DMA, RING = p.audio.sr, 256, 2048  # RING: the ring's room
HOP, N_FFT = p.features.hop_length, p.features.n_fft
LEAD = driven.SETTINGS.lead
DEVICE, SESSION = 0xFEEDBEEF, 0xC0FFEE
pytestmark = pytest.mark.slow


class App:
    """The application in the driver; the clock goes with the samples unless it is set."""

    def __init__(self, driver):
        self.driver, self.samples, self.data = driver, 0, b""
        self.clock_ms, self.model_fails, self.send_fails = None, False, False
        driver.ask("a")

    def write(self, samples: np.ndarray, *, poll: bool = True) -> None:
        """One transfer of the microphone's DMA, and what is told after it."""
        self.samples += len(samples)
        clock = self.samples * 1000 // SR if self.clock_ms is None else self.clock_ms
        head = struct.pack("<I???", clock % 2**32, self.model_fails, self.send_fails, poll)
        self.data += self.driver.ask("h", head + samples.astype("<i2").tobytes())

    def hear(self, pcm: np.ndarray, size: int = DMA) -> None:
        for i in range(0, len(pcm), size):
            self.write(pcm[i : i + size])

    def beat(self) -> Heartbeat:
        """The last heartbeat, asked for now."""
        self.data += self.driver.ask("b")
        return self.messages(Heartbeat)[-1]

    def end(self) -> None:
        """No sample will come."""
        self.data += self.driver.ask("e")

    def messages(self, kind: type = Incident) -> list:
        return [message for message in wire.decode_all(self.data) if isinstance(message, kind)]


class Python:
    """What Python sends of the same samples, after the first heartbeat."""

    def __init__(self, p=p):
        ear, number = listener.Listener(MODEL, [0.0], p), incidents.model_number(driven.ARTIFACT)
        same = {"device": DEVICE, "session": SESSION, "model": number}
        self.incidents, self.messages = incidents.Incidents(ear, sequence=count(1), p=p.firmware, **same), []

    def hear(self, pcm: np.ndarray) -> "Python":
        self.messages += self.incidents.push(pcm)
        return self

    def gap(self, lost: int) -> "Python":
        self.messages += self.incidents.gap(lost)
        return self


def expected(pcm: np.ndarray) -> list[Incident]:
    return Python().hear(pcm).messages


def compare(sent: list[Incident], want: list[Incident]) -> None:
    """Every number is the same, whatever heartbeats lie between; of a log-mel one code may be the next one."""
    plain = {"log_mel": None, "sequence": 0}
    assert [replace(a, **plain) for a in sent] == [replace(w, **plain) for w in want]
    for a, w in zip(sent, want, strict=True):
        assert (a.log_mel is None) == (w.log_mel is None)
        if a.log_mel is not None:
            differing = np.abs(a.log_mel.astype(int) - w.log_mel)
            assert differing.max() <= 1 and differing.sum() <= 1


def onsets_s(messages: list[Incident]) -> list[float]:
    return [round(onset / SR, 1) for message in messages for onset in message.onsets]


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32), size=st.sampled_from([1, 61, 128, DMA, 896, RING]), peak=st.sampled_from([900, 20_000])
)
def test_shots_are_those_of_the_listener(driver, seed, size, peak):
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.uniform(0.08, 0.9, 4)).tolist()
    pcm = shots(starts, 4.0 if size > 1 else 1.0, seed, peak)
    app = App(driver)
    app.hear(pcm, size)
    compare(app.messages(), expected(pcm))
    assert peak == 900 or size == 1 or len(onsets_s(app.messages())) >= 2


def test_simulated_shots_are_those_of_the_listener(driver):
    source, onset_count = corpus.Corpus(seed=7, duration_s=(1.5, 2.5), distance_m=(2.0, 100.0), sr=SR), 0
    for index in range(8):
        pcm = corpus.render("gun", index, source).pcm
        app = App(driver)
        app.hear(pcm)
        compare(app.messages(), expected(pcm))
        onset_count += len(onsets_s(app.messages()))
    assert onset_count >= 6


@pytest.mark.parametrize("start_s", [0.02, 0.05])
def test_a_shot_in_the_first_frames_is_told(driver, start_s):
    pcm, app = shots([start_s], 1.0), App(driver)
    app.hear(pcm)
    compare(app.messages(), expected(pcm))
    (opened,) = app.messages()
    assert abs(opened.onset / SR - start_s) < 0.02


def test_the_evidence_is_the_log_mel_of_the_deciding_window(driver):
    pcm, app = shots([0.7, 2.9], 3.5), App(driver)
    app.hear(pcm)
    codes = MODEL.codes(features.log_mel(pcm, sr=SR, **p.features.model_dump()))
    codes = np.concatenate([np.repeat(codes[:, :1], LEAD, axis=1), codes], axis=1)
    opened = [message for message in app.messages() if message.state == State.OPENED]
    for message in opened:
        last = (message.decided - N_FFT) // HOP + LEAD  # frame
        window = codes[:, last + 1 - driven.N_FRAMES : last + 1]
        assert (message.log_mel != window.T).sum() <= 1 and message.log_mel.shape == (71, 32)
        assert len(wire.encode(message)) == 64 + 71 * 32 + 3 + 8  # nothing else is sent
    assert len(opened) == 2


def test_messages_are_numbered_and_counted(driver):
    app = App(driver)
    app.hear(shots([0.7, 2.9, 5.1], 7.0))
    beat = app.beat()
    every = wire.decode_all(app.data)
    assert [message.sequence for message in every] == list(range(len(every)))
    assert beat.alerts == len(app.messages()) == 6 and (beat.heard, beat.dropped, beat.unsent) == (7 * SR, 0, 0)
    assert [message.incident for message in app.messages()] == [1, 1, 2, 2, 3, 3]
    assert (beat.gaps, beat.stuck, beat.backward, beat.failures) == (0, 0, 0, 0)


def test_a_burst_is_told_as_one_incident(driver):
    """Five shots in half a second: opened, updated once at most, closed with what was not yet told."""
    pcm, app = shots([0.7, 0.8, 0.92, 1.03, 1.2], 3.5), App(driver)
    app.hear(pcm)
    compare(app.messages(), expected(pcm))
    opened, *updated, closed = app.messages()
    assert (opened.state, closed.state) == (State.OPENED, State.CLOSED) and len(updated) <= 1
    assert closed.shots == 5 and onsets_s(app.messages()) == [0.7, 0.8, 0.9, 1.0, 1.2] and closed.log_mel is None


def test_what_has_ended_is_closed(driver):
    pcm, app, python = shots([0.7, 0.8], 1.2), App(driver), Python()
    app.hear(pcm)
    app.end()
    python.hear(pcm)
    compare(app.messages(), python.messages + python.incidents.end())
    assert app.messages()[-1].state == State.CLOSED and python.incidents.end() == []
    before = app.data
    app.end()
    assert [type(message) for message in wire.decode_all(app.data[len(before) :])] == [Heartbeat]


def test_a_heartbeat_says_what_decides(driver):
    by = measures.score_factors(driven.REPORT["calibration"], MODEL.step, windows=driven.SETTINGS.windows)
    opens = measures.score(driven.SETTINGS.on, *by)
    assert App(driver).beat().detector == Detector(incidents.model_number(driven.ARTIFACT), opens)
    assert 0 < opens < 65535


def test_heartbeats_come_at_their_interval(driver):
    """The first at once; the interval is firmware.heartbeat_s, here 2 s, and DMA pieces are 16 ms."""
    app = App(driver)
    app.hear(shots([], 9.0))
    times = [beat.uptime_ms for beat in app.messages(Heartbeat)]
    assert len(times) == 5 and times[0] <= 16 and all(2000 <= gap <= 2016 for gap in np.diff(times))


@pytest.mark.parametrize("rms", [0, 60, 6000])
def test_the_noise_level_is_that_since_the_heartbeat_before(driver, rms):
    app, rng = App(driver), np.random.default_rng(0)
    app.hear(np.full(SR, 9000, np.int16))
    app.beat()
    pcm = np.clip(np.rint(rms * rng.standard_normal(SR)), -32768, 32767).astype(np.int16)
    app.hear(pcm)
    power = max(1.0, np.mean(pcm.astype(np.float64) ** 2))
    assert abs(app.beat().noise - 10 * (10 * np.log10(power / 32768**2) + 120)) <= 0.51


def overrun(app: App, lost: np.ndarray) -> None:
    """Fill the ring to the brim, then write what finds no room."""
    room = np.zeros(RING, np.int16)
    app.write(room, poll=False)
    for i in range(0, len(lost), DMA):
        app.write(lost[i : i + DMA], poll=False)


def test_an_overrun_begins_anew_and_times_go_on(driver):
    """As the listener's gap; the samples that were lost have their length, incidents their numbers."""
    first, second, lost = shots([0.7, 1.5], 1.8, 1), shots([0.4, 0.6], 1.5, 2), shots([0.1], 0.32, 3)
    app = App(driver)
    app.hear(first)
    overrun(app, lost)
    app.write(lost[:0])
    app.hear(second)
    heard = np.concatenate([first, np.zeros(RING, np.int16)])
    python = Python().hear(heard).gap(len(lost)).hear(second)
    compare(app.messages(), python.messages)
    assert [message.incident for message in app.messages() if message.state == State.CLOSED] == [1]
    assert sum(message.incident == 2 for message in app.messages()) >= 1
    beat = app.beat()
    assert (beat.gaps, beat.dropped, beat.heard) == (1, len(lost), len(heard) + len(second))


def test_many_overruns_are_counted(driver):
    app, lost = App(driver), shots([], 0.2)
    for i in range(20):
        overrun(app, lost)
        app.write(lost[:0])
        app.hear(lost)
        beat = app.beat()
        assert beat.gaps == i + 1 and beat.dropped == (i + 1) * len(lost)


STUCK = {
    "zero": np.zeros(SR), "dc": np.full(SR, 1234), "high": np.full(SR, 32767), "low": np.full(SR, -32768),
    "full scale": np.resize([32767, 32767, -32768, -32767], SR),
}  # fmt: skip


@pytest.mark.parametrize("name", STUCK)
def test_a_stuck_microphone_is_counted_once_and_the_detector_goes_on(driver, name):
    still = STUCK[name].astype(np.int16)
    before, after = shots([0.7], 1.5, 4), shots([0.6], 1.5, 5)
    app = App(driver)
    pcm = np.concatenate([before, still, still, still, after])
    app.hear(pcm)
    assert app.beat().stuck == 1
    compare(app.messages(), expected(pcm))
    assert set(onsets_s(app.messages())) >= {0.7, 5.1}
    app.hear(still)
    assert app.beat().stuck == 2


def test_less_than_a_second_or_almost_stuck_is_none(driver):
    for pcm in (np.zeros(SR - 300), np.resize([0, 1], 3 * SR), np.resize([32766, 32767], 3 * SR), shots([1.0], 3.0)):
        app = App(driver)
        app.hear(np.r_[shots([], 0.3), pcm, shots([], 0.3)].astype(np.int16))
        assert app.beat().stuck == 0


def test_a_clock_that_runs_backward_is_counted_and_moves_no_shot(driver):
    pcm = shots([0.7, 1.9, 3.1], 4.0)
    app = App(driver)
    rng = np.random.default_rng(0)
    clocks = [int(t) for t in rng.integers(0, 2**31, len(pcm) // DMA)]
    for clock, piece in zip(clocks, np.split(pcm, range(DMA, len(pcm), DMA)), strict=False):
        app.clock_ms = clock
        app.write(piece)
    assert app.beat().backward == sum(b < a for a, b in zip([0, *clocks], clocks, strict=False))
    compare(app.messages(), expected(pcm))


def test_heartbeats_survive_a_clock_that_jumps_back_and_its_wrap(driver):
    app = App(driver)
    start = 2**32 - 1500
    for now in [2**31 - 1, 2**32 - 2001, start, *(start + 500 * i for i in range(1, 9))]:  # over 2^32, which is no jump
        app.clock_ms = now
        app.write(shots([], 0.1))
    assert app.beat().backward == 0
    beats = app.messages(Heartbeat)
    assert [b.uptime_ms - 2**32 for b in beats[-3:]] == [0, 2000, 2500]
    app.clock_ms = 1000  # back from 2500
    app.write(shots([], 0.1))
    assert app.beat().backward == 1 and app.beat().uptime_ms == beats[-1].uptime_ms
    count = len(app.messages(Heartbeat))
    app.clock_ms = 3001  # the interval is of time that passed
    app.write(shots([], 0.1))
    assert len(app.messages(Heartbeat)) == count + 1


def test_a_model_that_fails_is_counted_and_decides_nothing(driver):
    pcm = shots([0.7, 3.0], 4.0)
    app = App(driver)
    app.model_fails = True
    app.hear(pcm[: 2 * SR])
    assert app.messages() == [] and app.beat().failures == 1 + ((2 * SR - N_FFT) // HOP + 1 + LEAD - 71) // 8
    app.model_fails = False
    app.hear(pcm[2 * SR :])
    assert onsets_s(app.messages()) == [3.0] and app.messages()[0].incident == 1


def test_the_peak_of_the_oldest_shot_that_a_window_can_tell_is_still_there(driver):
    """Two windows decide, the first of them just begins with a shot, and the model had failed before."""
    first, second, ready = 21, 35, 33 * DMA  # frames; the window of frames 0 to 70 has ended at `ready`
    pcm = shots([(first * HOP + N_FFT // 2) / SR, (second * HOP + N_FFT // 2) / SR], 1.0)
    pcm[second * HOP :] //= 4
    app = App(driver)
    app.model_fails = True
    app.hear(pcm[:ready])
    app.model_fails = False
    app.hear(pcm[ready:])
    opened = app.messages()[0]
    assert opened.decided == ((2 * 8 + 70) * HOP + N_FFT) and abs(opened.onset - first * HOP - N_FFT // 2) <= HOP
    assert opened.shots == 2  # decided at once
    loudest, later = (np.abs(pcm[t * HOP :][: 9 * HOP].astype(int)).max() for t in (first, second))
    assert loudest > 2 * later and abs(opened.spl_db - 10 * audio.spl_db(loudest, full_scale_pa=20.0)) <= 0.51


def test_what_the_port_does_not_take_waits_for_the_next_message(driver):
    """A second later the incident opens; nothing of it is lost, and what was not taken is counted."""
    pcm, app = shots([0.7, 1.0, 1.5, 2.2], 3.0), App(driver)
    app.send_fails = True
    app.hear(pcm[: round(1.2 * SR)])
    app.send_fails = False
    assert app.messages() == []
    app.hear(pcm[round(1.2 * SR) :])
    opened = app.messages()[0]
    assert (opened.state, opened.sequence, opened.incident) == (State.OPENED, 2, 1) and opened.log_mel is not None
    assert opened.shots >= 3 and onsets_s(app.messages())[:3] == [0.7, 1.0, 1.5]
    beat = app.beat()
    assert (beat.unsent, beat.alerts) == (2, len(app.messages()))  # the first heartbeat, and the incident's opening


def test_shots_whose_onsets_do_not_fit_are_counted(driver):
    """The port takes nothing for three seconds of automatic fire; then a message has the first 32 onsets."""
    starts = np.arange(0.7, 3.7, 0.07)
    pcm, app = shots(starts.tolist(), 6.0), App(driver)
    app.send_fails = True
    app.hear(pcm[: round(3.75 * SR)])
    app.send_fails = False
    app.hear(pcm[round(3.75 * SR) :])
    first = app.messages()[0]
    want = expected(pcm)
    assert first.shots > 32 and first.onsets == tuple(onset for each in want for onset in each.onsets)[:32]
    assert app.messages()[-1].shots == want[-1].shots


@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 3000), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1)), max_size=60))
def test_nothing_that_happens_crashes_it(driver, events):
    """Pieces of any size, polled or not, of loud noise, with a model that fails and any clock."""
    app, rng = App(driver), np.random.default_rng(len(events))
    for size, poll, app.model_fails, app.clock_ms in events:
        app.write(rng.integers(-32768, 32768, size).astype(np.int16), poll=poll)
    app.write(np.zeros(0, np.int16))
    beat = app.beat()
    lost = sum(size for size, *_ in events) - beat.heard
    assert lost == beat.dropped and (beat.gaps > 0) <= (lost > 0)
