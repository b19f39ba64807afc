"""The hub's second opinion of sound that orders brought, against that of a file, and where it has none."""

from datetime import UTC, datetime

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


def judged(scene: Scene, verifier) -> list[sql.Row]:
    with database.opened(scene.url) as engine:
        second.judge(engine, scene.folder / "sound", verifier, p, now=NOW)
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


def test_a_verifier_that_is_none_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"verifier.tflite: no such model"):
        second.load(tmp_path / "verifier.tflite", p)
