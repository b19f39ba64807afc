"""gunshot hub and gunshot device: from a wav with a shot to a row of the main system, as a person types it."""

import csv
import io
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import soundfile as sf
import sqlalchemy as sql

from gunshot.hub import database
from gunshot.hub.database import CLIP
from tests.cli.test_commands import REPO, forest, main, project, run  # noqa: F401 - fixtures
from tests.firmware.driven import shots
from tests.flows.prefect_server import free_port, started
from tests.hub.console import SR, Scene
from tests.hub.network import FORKS, Network, be_a_device, forked, until

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORDER = ("hub", "order", "none", "roof", "--reason", "a shot", "--person", "ada")
COMMAND = "import sys; sys.argv[0] = 'gunshot'; from gunshot.cli import main; main()"


def test_an_empty_hub_says_what_to_do_next(project):  # noqa: F811
    done = run("hub", "init", "hub")
    assert done.exit_code == 0, done.output
    assert f"mosquitto -c {project}/hub/mosquitto.conf" in done.output and "gunshot hub run hub" in done.output
    done = run("hub", "enrol", "hub", "roof", "--number", "7")
    assert done.exit_code == 0 and "gunshot device run roof" in done.output
    assert run("hub", "incidents", "hub").output == "no incident yet\n"
    assert run("hub", "incidents", "hub", "--format", "json").output == ""
    assert run("hub", "cases", "hub").output == "no case yet\n"
    done = run("hub", "cases", "hub", "--format", "geojson")
    assert json.loads(done.stdout) == {"type": "FeatureCollection", "features": []}


def test_a_device_is_put_at_a_site(project, monkeypatch, capsys):  # noqa: F811
    run("hub", "init", "hub")
    words = main(monkeypatch, capsys, "hub", "enrol", "hub", "roof", "--number", "7", "--site", "yard")
    assert "site=yard must be there; make it with `gunshot hub site`" in words
    assert not (project / "hub/devices/roof").exists()
    done = run("hub", "site", "hub", "yard", "--devices-needed", "2", "--exercise")
    assert done.output == "yard: 2 devices must hear a shot before a person is woken; what is heard now is a drill\n"
    at = ("--site", "yard", "--latitude", "47.5", "--longitude", "8.25")
    for options in (at, ()):  # without them all stays as it is
        assert run("hub", "enrol", "hub", "roof", "--number", "7", *options).exit_code == 0
    cold = ("--temperature", "-4.5")
    assert run("hub", "site", "hub", "yard", "--devices-needed", "1", *cold).output.endswith("is a drill\n")
    assert run("hub", "site", "hub", "yard", "--devices-needed", "1", "--no-exercise").output == (
        "yard: 1 device must hear a shot before a person is woken\n"
    )
    with database.opened(f"sqlite:///{project}/hub/hub.sqlite") as engine, engine.connect() as connection:
        rows = [connection.execute(sql.select(table)).one() for table in (database.SITE, database.DEVICE)]
    assert rows == [("yard", 1, False, -4.5), ("roof", 7, "yard", 47.5, 8.25, None)]


def test_what_is_wrong_is_one_line(project, monkeypatch, capsys):  # noqa: F811
    for args, words in (
        (("hub", "incidents", "none"), "none/hub.yaml: no such file; make it with `gunshot hub init none`"),
        (("hub", "cases", "none"), "none/hub.yaml: no such file"),
        (("hub", "run", "none"), "none/hub.yaml: no such file"),
        (("hub", "orders", "none"), "none/hub.yaml: no such file"),
        (("hub", "purge", "none"), "none/hub.yaml: no such file"),
        (ORDER, "one of --incident, --from, --live and --video must be there"),
        ((*ORDER, "--live", "3", "--video", "3"), "one of --incident, --from, --live and --video must be there"),
        ((*ORDER, "--video", "3", "--seconds", "3"), "seconds=3 must not be there with --live or --video"),
        ((*ORDER, "--from", "2026-03-01T12:00:00Z"), "--from must have --seconds with it"),
        ((*ORDER, "--from", "noon", "--seconds", "3"), "from=noon must be a time with its zone"),
        (("hub", "overruler", "none", "anna", "ben.pem"), "key=ben.pem must be named anna.pem"),
        ((*ORDER, "--incident", "3"), "incident=3 must be SESSION/N"),
        ((*ORDER, "--live", "3"), "none/hub.yaml: no such file"),
        (("device", "run", "none"), "none/device.yaml: no such file; `gunshot hub enrol` makes a device's folder"),
    ):
        assert words in main(monkeypatch, capsys, *args)


def test_the_list_of_incidents_has_second_opinions_in_the_words_of_the_page(tmp_path):
    scene = Scene(tmp_path / "hub")
    for number, names in ((1, ("gate", "yard")), (2, ("gate",))):
        scene.case(number, NOW, names)
    scene.judge(1, "gate", score=0.91, upheld=True)
    # The newest ordered clip that could be judged counts: here neither the first one nor the last.
    for minutes, said in enumerate(((0.5, True), (0.01, False), None)):
        at = NOW + timedelta(minutes=minutes)
        id = scene.order(1, "gate", at, state="complete", pcm=np.zeros(SR, np.int16))
        opinion = {"verifier": "00000000000decaf", "opinion": round(65535 * said[0]), "upheld": said[1]} if said else {}
        with scene.writing() as connection:
            connection.execute(sql.update(CLIP).where(CLIP.c.order == id).values(judged_at=at, **opinion))
    command = "hub", "incidents", str(scene.folder)
    listed = run(*command).stdout.splitlines()
    (own,) = (line for line in listed if "second opinion" in line)
    assert " gate " in own and own.endswith(
        "  second opinion: like a shot (0.91 of 1), on the device"
        "  second opinion: doubtful, perhaps something else (0.01 of 1), on the ordered sound"
    )
    rows = [json.loads(line) for line in run(*command, "--format", "json").stdout.splitlines()]
    names = "opinion", "upheld", "verifier", "sound_opinion", "sound_upheld", "sound_verifier"
    said = {(row["device"], row["incident"]): [row[name] for name in names] for row in rows}
    assert said.pop(("gate", 1)) == [0.91, True, "0000000000facade", 0.01, False, "00000000000decaf"]
    assert said == {("yard", 1): [None] * 6, ("gate", 2): [None] * 6}


def test_a_hub_whose_verifier_is_not_there_does_not_start(project, monkeypatch, capsys):  # noqa: F811
    run("hub", "init", "hub")
    with (project / "hub/hub.yaml").open("a") as file:
        file.write("verifier: models/none.tflite\n")
    words = main(monkeypatch, capsys, "hub", "run", "hub")
    assert "models/none.tflite: no such model; make it with `gunshot train-verifier`" in words


@pytest.mark.slow
def test_a_wav_with_a_shot_is_an_incident_of_the_hub(forest, project, monkeypatch):  # noqa: F811
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda s: sleep(min(s, 0.02)))  # the wav is not heard at its own pace
    run("hub", "init", "hub", "--port", free_port())
    run("hub", "enrol", "hub", "roof", "--number", "7")
    (project / "hub/devices/roof").rename(project / "roof")
    log = project / "log"
    hub = (sys.executable, "-c", COMMAND, "hub", "run", "hub")
    with (
        started(log, "/usr/sbin/mosquitto", "-c", "hub/mosquitto.conf"),
        started(log, *hub, env={**os.environ, "PYTHONPATH": str(REPO)}),
    ):
        until(lambda: "connected to the broker" in log.read_text(), log.read_text)
        done = run("device", "run", "roof", "--file", "shot.wav", "--model", forest)
        assert done.exit_code == 0, done.output
    done = run("hub", "incidents", "hub", "--format", "json")
    (row,) = map(json.loads, done.stdout.splitlines())
    assert done.stderr == "" and (row["device"], row["session"], row["shots"], row["state"]) == ("roof", 1, 1, "closed")
    (detected,) = map(json.loads, run("detect", "shot.wav", "--model", forest, "--format", "json").stdout.splitlines())
    assert abs(row["score"] - detected["score"]) < 1e-3 and abs(row["level_db"] - detected["level_db"]) < 0.11
    (same,) = csv.DictReader(io.StringIO(run("hub", "incidents", "hub", "--format", "csv").stdout))
    assert {name: str(value if value is not None else "") for name, value in row.items()} == same
    text = run("hub", "incidents", "hub").stdout
    assert "roof" in text and "closed" in text and "1 shot " in text and len(text.splitlines()) == 1
    assert run("device", "run", "roof", "--file", "quiet.wav", "--model", forest).exit_code == 0  # nothing waits


@pytest.mark.slow
def test_the_sound_of_an_incident_is_ordered_and_written(project, monkeypatch, capsys):  # noqa: F811
    network, pcm = Network(project / "hub"), shots([0.5], 2.5, seed=2)
    assert run("hub", "orders", "hub").output == "no order yet\n"
    order = ("hub", "order", "hub", "roof", "--reason", "a shot", "--person", "ada")
    assert "incident=1/1 must be one of roof's" in main(monkeypatch, capsys, *order, "--incident", "1/1")
    with network.broker(), network.hub(), forked(be_a_device, network.device, pcm, FORKS.Event()):
        until(lambda: [row["shots"] for row in network.rows(database.INCIDENT)] == [1], "the incident is there")
        done = run(*order, "--incident", "1/1", "--seconds", "2")
        assert done.exit_code == 0, done.output
        path = done.stdout.strip()
        assert "2.0 of 2.0 s of sound" in done.stderr
        words = main(monkeypatch, capsys, *order, "--incident", "1/1", "--seconds", "3")  # the recording has 2.5
        assert "is cut off: the device ends" in words
    written, sr = sf.read(path, dtype="int16")
    assert sr == 16_000 and np.array_equal(written, pcm[: 2 * sr])
    done, short = map(json.loads, run("hub", "orders", "hub", "--format", "json").stdout.splitlines())
    assert (done["state"], done["incident"], path) == ("complete", 1, f"hub/sound/{done['file']}")
    assert (short["state"], short["note"]) == ("cut off", "the device ends")
    assert np.array_equal(sf.read(f"hub/sound/{short['file']}", dtype="int16")[0], pcm)
    text = run("hub", "orders", "hub").stdout.splitlines()
    assert len(text) == 2 and "2.0 s of incident 1/1  complete  ada: a shot" in text[0] and "cut off (the" in text[1]
    purged = run("hub", "purge", "hub").stdout.splitlines()
    assert purged == ["0 clips older than 30 days deleted", "0 messages older than 90 days deleted"]
