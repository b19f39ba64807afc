"""The hub's second opinion of sound that orders brought, against that of a file, and where it has none."""

import dataclasses
from datetime import UTC, datetime
from threading import Event

import numpy as np
import pytest
import sqlalchemy as sql

from gunshot.base import params
from gunshot.detect import opinion
from gunshot.hub import database, second
from gunshot.hub.database import CLIP
from tests.firmware.driven import ROOT, shots
from tests.hub.console import SR, Scene
from tests.verifier import POINT, a_verifier

SECTIONS = "audio", "chunks", "context", "features", "detector", "verifier"
p = params.load(*SECTIONS, path=ROOT / "params.yaml")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONSET = 100_000  # of the scene's incidents


@pytest.fixture
def scene(tmp_path) -> Scene:
    scene = Scene(tmp_path / "hub")
    scene.case(1, NOW, ("gate",), shots=1)
    return scene


def judged(scene: Scene, verifier, stop: Event | None = None) -> list[sql.Row]:
    with database.opened(scene.url) as engine:
        second.judge(engine, scene.folder / "sound", verifier, p, stop or Event(), now=NOW)
    return scene.rows(CLIP)


def test_it_is_the_opinion_of_the_clip_s_file_at_the_shot(scene, tmp_path):
    verifier, pcm = a_verifier(tmp_path, p), shots([ONSET / SR], 8.0)
    id = scene.order(1, "gate", NOW, state="complete", pcm=pcm)
    (row,) = judged(scene, verifier)
    file = scene.folder / "sound" / f"{id}.flac"
    (logit,) = opinion.of_file(verifier, file, np.array([ONSET / SR]), p).astype(float)
    assert (row.opinion, row.upheld) == (round(65535 * float(verifier.calibrated(logit))), logit >= POINT)
    assert row.verifier == opinion.sha256(verifier.path)[:16] and row.judged_at is not None
    file.unlink()
    assert judged(scene, verifier) == [row]  # once, and for good


def test_without_the_shot_or_its_file_it_has_none_and_says_so_once(scene, tmp_path, caplog):
    scene.order(1, "gate", NOW, state="complete", pcm=shots([1.0], 2.0))  # it ends before the shot
    file = scene.folder / "sound" / f"{scene.order(1, 'gate', NOW, state='complete', pcm=shots([1.0], 8.0))}.flac"
    file.write_bytes(b"no FLAC")
    rows = judged(scene, a_verifier(tmp_path, p))
    assert [(row.verifier, row.opinion, row.upheld) for row in rows] == [(None, None, None)] * 2
    assert all(row.judged_at for row in rows) and caplog.text.count("no second opinion") == 1


HOP = p.features.hop_length
BEFORE, AFTER = (p.verifier.before * HOP, (p.verifier.frames - p.verifier.before - 1) * HOP + p.features.n_fft)
FIRST = round(ONSET / HOP) * HOP  # sample of the frame at which the onset lies


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "stop", "shots_", "note", "has_one"),
    [
        (0, FIRST + AFTER, 1, None, True),
        (0, FIRST + AFTER - 1, 1, None, False),  # it ends a sample early
        (ONSET - BEFORE, ONSET + AFTER, 1, None, True),
        (ONSET - BEFORE + HOP, ONSET + AFTER, 1, None, False),  # it begins a frame late
        (ONSET - 100, ONSET + 200, 1, None, False),  # shorter than a frame
        (0, FIRST + AFTER, 2, None, False),  # of two shots that may have scored it has one
        (0, FIRST + AFTER + 15 * HOP, 2, None, True),
        (0, FIRST + AFTER, 1, "speech: 0.5 s are silence", False),  # some of it was withheld
    ],
)
def test_it_is_of_sound_that_is_all_there(scene, tmp_path, start, stop, shots_, note, has_one):
    scene.case(2, NOW, ("gate",), shots=shots_)
    pcm = shots([ONSET / SR], stop / SR)[start:stop]
    scene.order(2, "gate", NOW, state="complete", pcm=pcm, note=note)
    with scene.writing() as connection:
        connection.execute(sql.update(CLIP).values(start=start))
    (row,) = judged(scene, a_verifier(tmp_path, p))
    assert len(pcm) == stop - start and row.judged_at and (row.opinion is not None) == has_one


def test_what_an_odd_clip_raises_is_logged_and_ends_nothing(scene, tmp_path, caplog):
    verifier, calls = a_verifier(tmp_path, p), []

    def logit(x: np.ndarray) -> np.ndarray:
        calls.append(x)
        if len(calls) == 1:
            raise ValueError("odd")
        return verifier.logit(x)

    for _ in range(2):
        scene.order(1, "gate", NOW, state="complete", pcm=shots([ONSET / SR], 8.0))
    rows = judged(scene, dataclasses.replace(verifier, logit=logit))
    assert all(row.judged_at for row in rows) and sorted(row.opinion is None for row in rows) == [False, True]
    assert ".flac: no second opinion: ValueError: odd" in caplog.text


def test_a_hub_that_ends_judges_no_further_clip_and_keeps_what_it_has(scene, tmp_path):
    verifier, stop = a_verifier(tmp_path, p), Event()
    for _ in range(2):
        scene.order(1, "gate", NOW, state="complete", pcm=shots([ONSET / SR], 8.0))
    ending = dataclasses.replace(verifier, logit=lambda x: stop.set() or verifier.logit(x))
    assert sorted(row.judged_at is None for row in judged(scene, ending, stop)) == [False, True]
    assert all(row.opinion is not None for row in judged(scene, verifier))
