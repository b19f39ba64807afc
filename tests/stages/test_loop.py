"""The loop: a false alarm that a person dismisses in the console is trained on, and the new model raises none.

It begins with what `make` made here, and trains anew; promotion is tests/stages/test_story.py's. Only what comes to lie
on the training side is learned: of the first two devices that send negatives, one.
"""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sql

from gunshot.base import audio, params, tables
from gunshot.detect import detector, listener
from gunshot.device import run as device
from gunshot.device.place import Place
from gunshot.device.policy import Policy
from gunshot.hub import database, folder
from gunshot.hub.console import people
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CASE, CLIP, INCIDENT, ORDER
from gunshot.models.model import Model, load_model
from gunshot.simulate import streams
from tests.hub.console import Browser, running
from tests.hub.network import NAME, Network
from tests.hub.waiting import until
from tests.stages.project import ROOT, Project

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(7200)]
MODEL = Path("models/quantized/model.tflite")
OTHER = "gate"
EXCERPT_S, BEFORE_S, QUIET_S = 12.0, 5.0, 2.0
MADE = ("data", "models", "reports", ".dvc/cache")


@pytest.fixture
def project(tmp_path) -> Project:
    """A clone of this project, with what `make` made."""
    root, shared = tmp_path / "project", tmp_path / "shared"
    subprocess.run(["git", "clone", "-q", ROOT, root], check=True)
    for name in MADE:
        shutil.copytree(ROOT / name, root / name, dirs_exist_ok=True)
    shared.mkdir()
    return Project(root, shared)


@pytest.fixture
def p(project) -> SimpleNamespace:
    sections = ("audio", "chunks", "context", "features", "detector", "firmware")
    return params.load(*sections, path=project.root / "params.yaml")


def incidents(model: Model, pcm: np.ndarray, p: SimpleNamespace) -> list[int]:
    """The sample of the first onset of each incident in some sound."""
    ear = listener.Listener(model, [model.threshold()], p)
    (rows,), _ = ear.push(pcm)
    which, onsets = rows[:, detector.WHICH], ear.samples(rows)
    return [int(onsets[which == number].min()) for number in np.unique(which)]


def false_alarms(model: Model, p: SimpleNamespace) -> Iterator[np.ndarray]:
    """Sound without a shot, EXCERPT_S each, in which the model raises an incident."""
    sr, reach = p.audio.sr, {"events_per_min": 25.0, "distance_m": (2.0, 60.0)}
    for i in range(100):
        pcm = streams.render(79, "train", i, "quiet", sr=sr, stream_s=60.0, **reach).pcm
        for onset in incidents(model, pcm, p)[:1]:
            start = max(0, onset - round(BEFORE_S * sr))
            excerpt = pcm[start : start + round(EXCERPT_S * sr)]
            if incidents(model, excerpt, p):
                yield excerpt


def hear(place: Path, pcm: np.ndarray, file: Path, p: SimpleNamespace, stop: threading.Event) -> None:
    """Be a device that hears some sound at once, then silence, and then waits for orders."""
    Place.load(place).model_copy(update={"speech": Policy.allowed}).save(place)
    size = p.detector.hop * p.features.hop_length

    def blocks():
        whole = np.concatenate([pcm, np.zeros(round(QUIET_S * p.audio.sr), np.int16)])
        for i in range(0, len(whole), size):
            yield audio.to_float(whole[i : i + size]), False
        while not stop.wait(0.05):
            yield np.zeros(0, np.float32), False
        raise KeyboardInterrupt

    model = load_model(file)
    device.listen(place, blocks(), model, model.threshold(), p, error_us=lambda: None)


def dismissed(network: Network, sounds: list[tuple[str, np.ndarray]], file: Path, p: SimpleNamespace) -> None:
    """Let devices hear sounds; a person asks for the first incident of each, and dismisses all cases."""
    stop = threading.Event()
    with network.broker(), network.hub(), ThreadPoolExecutor() as pool, running(network) as url:
        done = [pool.submit(hear, network.folder / "devices" / name, pcm, file, p, stop) for name, pcm in sounds]
        try:
            until(
                lambda: {row["device"] for row in network.rows(INCIDENT)} == {name for name, _ in sounds}, "both hear"
            )
            with database.opened(network.url) as engine, engine.begin() as connection:
                password = people.admit(connection, "anna", Role.reviewer, now=datetime.now(UTC))
            with Browser(network, url) as browser:
                assert browser.log_in("anna", password).status_code == 303
                for row in network.rows(INCIDENT):
                    if row["incident"] == 1:
                        path = f"/incidents/{row['device']}/{row['session']}/1/orders"
                        form = {"reason": "was that a shot?", "csrf": browser.csrf("/")}
                        assert browser.post(path, data=form).status_code == 303
                until(lambda: {row["state"] for row in network.rows(ORDER)} == {"complete"}, "both are answered")
                for row in network.rows(CASE):
                    assert browser.decide(row["number"], kind="dismiss", label="tool").status_code == 303
        finally:
            stop.set()
        for one in done:
            one.result()


def spans(url: str) -> dict[str, tuple[int, int]]:
    """The samples of each device's clip, from the one to before the other."""
    query = sql.select(ORDER.c.device, CLIP.c.start, CLIP.c.samples).join(CLIP, CLIP.c.order == ORDER.c.id)
    with database.opened(url) as engine, engine.connect() as connection:
        return {name: (start, start + n) for name, start, n in connection.execute(query)}


def check(project: Project, before: Path, url: str, sounds: list[tuple[str, np.ndarray]], p: SimpleNamespace) -> None:
    """What was trained on raises no incident any more, and few shots are lost; `before` has the model of before."""
    champion, candidate = load_model(before / MODEL.name), load_model(project.root / MODEL)
    sides = tables.read(project.root / "data/splits.csv", tables.SPLIT).set_index("recording_group")["side"]
    trained = 0
    for name, pcm in sounds:
        start, stop = spans(url)[name]
        was, now = ([at for at in incidents(one, pcm, p) if start <= at < stop] for one in (champion, candidate))
        assert was, "its first incident was ordered"
        if sides[f"field:{name}"] == "train":
            trained += 1
            assert not now
    assert trained, "one of two devices' recordings is trained on"
    compared = before / "comparison.json"
    project.run("gunshot", "compare", str(MODEL.parent), str(before), "--out", str(compared))
    recall = json.loads(compared.read_text())["recall"]
    assert recall["candidate"] >= recall["champion"] - recall["cases"] / 100


def test_a_false_alarm_that_a_person_dismisses_is_none_any_more(project, p, tmp_path):
    network, before = Network(tmp_path / "hub"), tmp_path / "before"
    folder.enrol(network.folder, OTHER, 8)
    alarms = false_alarms(load_model(project.root / MODEL), p)
    sounds = [(name, next(alarms)) for name in (NAME, OTHER)]
    shutil.copytree(project.root / MODEL.parent, before)
    dismissed(network, sounds, project.root / MODEL, p)
    said = project.run("gunshot", "hub", "collect", str(network.folder))
    assert "2 recordings filed below data/field (2 tool)" in said
    assert "2 imported" in project.run("gunshot", "import", "field")
    project.repro("operate")
    check(project, before, network.url, sounds, p)
