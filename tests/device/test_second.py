"""A device's second opinion against that of `gunshot detect --verify` on the same sound, and when it comes."""

import dataclasses
import itertools
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gunshot.base import audio, params
from gunshot.detect import detector, listener, opinion
from gunshot.device import incidents, messages, run, second
from gunshot.device.messages import Incident, Opinion, State
from gunshot.device.outbox import Outbox
from gunshot.device.ring import Ring
from gunshot.device.topics import Birth
from gunshot.models.model import Model
from tests.firmware.driven import MODEL, ROOT, shots
from tests.verifier import POINT, a_verifier

p = params.load("audio", "chunks", "context", "features", "detector", "firmware", "verifier", path=ROOT / "params.yaml")
SR, SIZE = p.audio.sr, 896
GAPS = shots([0.4, 0.9, 3.0, 4.2, 4.4], 5.2)  # the first and the last have less around them than the verifier hears


@pytest.fixture
def verifier(tmp_path) -> Model:
    return a_verifier(tmp_path, p)


def sent(pcm: np.ndarray, verifier: Model | None, *, gap_at: int | None = None) -> list[tuple[int, Incident]]:
    """The messages of samples, each with how many had been heard; those before a gap, where there is one."""
    ring, ear = Ring(SR), listener.Listener(MODEL, [0.0], p)
    judge = second.Second(verifier, ring, p) if verifier else None
    options = {"device": 1, "session": 2, "sequence": itertools.count(), "model": 3, "p": p.firmware, "second": judge}
    teller, out = incidents.Incidents(ear, **options), []
    for i in range(0, len(pcm), SIZE):
        if i == gap_at:
            out += [(i, message) for message in teller.gap(0)]
            ring.gap()
        ring.push(pcm[i : i + SIZE])
        out += [(i + SIZE, message) for message in teller.push(pcm[i : i + SIZE]) + teller.opinions()]
    return out + [(len(pcm), message) for message in teller.end() + teller.opinions(ended=True)]


def expected(pcm: np.ndarray, verifier: Model, folder: Path) -> dict[int, Opinion]:
    """What `gunshot detect --verify` says of each incident of a recording."""
    ear = listener.Listener(MODEL, [0.0], p)
    rows = opinion.let_through(pcm, ear)[0]
    best = opinion.highest(rows[:, detector.WHICH], rows[:, detector.LOGIT_SUM])
    audio.write_pcm(folder / "heard.wav", pcm, sr=SR)
    logits = opinion.of_file(verifier, folder / "heard.wav", ear.samples(rows[best]) / SR, p).astype(float)
    number = int(opinion.sha256(verifier.path)[:16], 16)
    score = np.round(65535 * verifier.calibrated(logits)).astype(int)
    said = zip(rows[best, detector.WHICH].tolist(), score.tolist(), logits >= POINT, strict=True)
    return {which: Opinion(number, score, int(upheld)) for which, score, upheld in said}


def test_it_is_the_opinion_of_detect_and_comes_once_enough_was_heard(verifier, tmp_path):
    messages = sent(GAPS, verifier)
    opinions = {m.incident: m.opinion for _, m in messages if m.opinion}
    assert opinions == expected(GAPS, verifier, tmp_path) and len(opinions) >= 2
    assert len({one.score for one in opinions.values()}) == len(opinions)
    assert {one.upheld for one in opinions.values()} == {0, 1}
    alone = sent(GAPS, None)
    assert [(at, m.incident, m.state, m.onsets) for at, m in messages if not m.opinion] == [
        (at, m.incident, m.state, m.onsets) for at, m in alone
    ]  # the alert waits for nothing
    judged = [(at, m) for at, m in messages if m.opinion]
    assert [m.incident for _, m in judged] == sorted(opinions)
    assert {m.state for _, m in judged} <= {State.UPDATED, State.CLOSED} and not any(m.onsets for _, m in judged)
    at, first = judged[0]
    onset = max(o for _, m in messages for o in m.onsets if m.incident == first.incident)
    after = (p.verifier.frames - p.verifier.before) * p.features.hop_length + p.features.n_fft
    assert at <= onset + after + SIZE


def test_no_alert_waits_for_the_verifier(verifier, tmp_path):
    """When it is asked, all alerts so far are on their way; at a gap and at the end they are in the outbox."""
    first, second_ = GAPS, shots([0.5], 1.0)
    birth = Birth(name="roof", number=1, session=2, model=f"{3:016x}", operating_point=0.5, version=2, capabilities=[])
    sent_, asked = [], []

    def alerts() -> list[Incident]:
        return [m for m in map(messages.decode, sent_ + [one.payload for one in outbox.first(99)]) if not m.opinion]

    def pump(*_) -> None:
        for one in outbox.first(99):
            sent_.append(one.payload)
            outbox.remove(one.session, one.sequence)

    def logit(x: np.ndarray) -> np.ndarray:
        asked.append((len(alerts()), len(outbox)))
        return verifier.logit(x)

    ear, link = listener.Listener(MODEL, [0.0], p), SimpleNamespace(pump=pump, say=lambda _: None)
    with closing(Outbox(tmp_path)) as outbox:
        outbox.start()
        judge = dataclasses.replace(verifier, logit=logit)
        device = run.Device(ear, birth, outbox, p.firmware, error_us=lambda: 1000, verifier=judge)
        run.run([(audio.to_float(first), False), (audio.to_float(second_), True)], device, outbox, [], link)
    teller = incidents.Incidents(
        listener.Listener(MODEL, [0.0], p), device=1, session=2, sequence=itertools.count(), model=3, p=p.firmware
    )
    at_once, closed = len(teller.push(first)), len(teller.gap(0))
    rest = len(teller.push(second_) + teller.end())
    assert closed == 1 and asked[0] == (at_once, 0)
    assert [count for count, _ in asked[-2:]] == [at_once + closed, at_once + closed + rest]
    assert all((m.clock is None) == bool(m.opinion) for m in map(messages.decode, sent_))


def test_before_missing_samples_it_hears_what_there_is(verifier, tmp_path):
    gap_at = SIZE * 36  # soon after the second shot
    before = [m for at, m in sent(GAPS, verifier, gap_at=gap_at) if at <= gap_at]
    assert {m.incident: m.opinion for m in before if m.opinion} == expected(GAPS[:gap_at], verifier, tmp_path)
    after = [m for at, m in sent(GAPS, verifier, gap_at=gap_at) if at > gap_at and m.opinion]
    one = expected(GAPS[gap_at:], verifier, tmp_path)
    assert [m.opinion for m in after] == list(one.values()) and one
