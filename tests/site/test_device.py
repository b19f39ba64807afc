"""gunshot device run --site, with a real broker and hub: its threshold, and what it says where it cannot use one."""

import dataclasses
import hashlib
import json
import logging
import shutil
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from gunshot.base import params, pipeline
from gunshot.detect import opinion
from gunshot.detect.live import Heard
from gunshot.device import change, ladder, messages, topics
from gunshot.device import run as running
from gunshot.device.change import PART_S, PARTS, WEEK, Watch
from gunshot.device.ladder import Rungs
from gunshot.device.place import Place
from gunshot.device.topics import SiteProfile, Status
from gunshot.hub import database, folder, sites
from gunshot.models.model import load_model
from gunshot.signing import keys
from gunshot.site import calibration, profile
from gunshot.site.heard import hear
from tests.cli.test_commands import main, run
from tests.hub.network import NAME, NUMBER, Network
from tests.site.conftest import sound, write
from tests.verifier import POINT, a_verifier

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
SECTIONS = "audio", "chunks", "context", "features", "detector", "firmware"
SITE, SITED = SiteProfile(site="yard"), ["--site", "yard.json"]
LOGIT = 0.25  # above the operating point; the shot passes it


@pytest.fixture
def network(site, monkeypatch) -> Network:
    """A hub with a device at the site yard, and profiles of that site and of another."""
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda s: sleep(min(s, 0.02)))  # the wav is not heard at its own pace
    write("quiet.wav", [], 61.0)
    p = params.load("audio", "chunks", "context", "features", "detector", "quality", "streams")
    model = load_model(site / "forest.joblib")
    heard = [hear("quiet.wav", site / "quiet.wav", model, calibration.logits_of(model), 0.0, p)]
    done = dataclasses.replace(calibration.calibrate("yard", heard, model, p, limit=0.5), logit=LOGIT)
    for name in ("yard", "gate"):
        content = calibration.content(name, done, heard, model, p, decided_in=None, cost=None, rehearsed=None)
        profile.write(site / f"{name}.json", content, keys.private())
    one = Network(site / "hub")
    with database.opened(one.url) as engine, engine.begin() as connection:
        sites.put(connection, "yard", devices_needed=1, exercise=False)
    folder.enrol(one.folder, NAME, NUMBER, site="yard")
    return one


def said(network: Network, *args: str, model: str = "forest.joblib") -> tuple[Status, float]:
    """What a device says of itself that hears a shot, until the hub has it: its status and operating point."""
    with network.hub():
        done = run("device", "run", str(network.device), "--file", "shot.wav", "--model", model, *args)
    assert done.exit_code == 0, done.output
    kept = network.retained()
    point = json.loads(kept[topics.topic(NAME, "birth")])["operating_point"]
    return Status.decode(kept[topics.topic(NAME, "status")]), point


def test_a_device_runs_by_its_site_s_profile_and_without_one_that_it_cannot_use(network, caplog, monkeypatch, capsys):
    caplog.set_level(logging.INFO, "gunshot")
    assert folder.enrol(network.folder, NAME, NUMBER) == network.device  # enrolled anew, it stays where it was
    assert Place.load(network.device).site == "yard"
    with network.broker():
        status, point = said(network, "--site", "yard.json")
        assert (status.site, status.site_fault) == ("yard", None)
        assert point == pytest.approx(0.562, abs=1e-3)
        assert "threshold 0.562, by the profile of the site yard" in caplog.text
        status, point = said(network, "--site", "gate.json")
        assert (status.site, point) == (None, 0.5)
        assert "gate.json: site='gate' must be 'yard', where this device hangs" in status.site_fault
        assert "it runs without its site's profile: gate.json" in caplog.text
        assert "threshold 0.500, by no site's profile" in caplog.text
        assert "it goes no higher than the operating point: reports/operating.csv: no such file" in caplog.text
    args = ("device", "run", str(network.device), "--model", "forest.joblib", "--site", "yard.json", "--threshold")
    assert "only one can decide" in main(monkeypatch, capsys, *args, "0.5")


def test_the_hub_learns_which_profile_decided_and_a_second_opinion(network, site, monkeypatch, capsys):
    args = ("device", "run", str(network.device), "--file", "shot.wav", "--model", "forest.joblib", "--verify")
    assert "verifier.tflite: no such model; make it with" in main(monkeypatch, capsys, *args)
    verifier = a_verifier(site / "verifier", params.load("verifier"))
    monkeypatch.setattr(opinion, "load", lambda path, detector, p: verifier)
    with network.broker():
        said(network, "--site", "yard.json", "--verify")
        said(network)
    judged, plain = network.rows(database.INCIDENT)
    assert judged["profile"] == hashlib.sha256((site / "yard.json").read_bytes()).hexdigest()[:16]
    assert judged["verifier"] == hashlib.sha256(verifier.path.read_bytes()).hexdigest()[:16]
    assert 0 < judged["opinion"] < 65535 and judged["upheld"] == (
        verifier.calibrated(POINT) <= judged["opinion"] / 65535
    )
    assert [plain[name] for name in ("profile", "verifier", "opinion", "upheld")] == [None] * 4
    assert ["opinion" in row["capabilities"] for row in network.rows(database.SESSION)] == [True, False]


def test_detect_verifies_what_the_site_s_threshold_lets_through(network, site, monkeypatch):
    verifier = a_verifier(site / "verifier", params.load("verifier"))
    monkeypatch.setattr(opinion, "load", lambda path, detector, p: verifier)
    monkeypatch.setattr(pipeline, "models", lambda root=None: {"int8": site / "forest.joblib"})
    args = ("detect", "shot.wav", "--verify", "--format", "json")
    alone, both = ([json.loads(line) for line in run(*args, *more).stdout.splitlines()] for more in ([], SITED))
    assert both and all(row["score"] >= 0.562 for row in both[:1]) and {"opinion", "upheld"} <= both[0].keys()
    plain = run(*args[:2], *args[3:], *SITED).stdout.splitlines()
    assert [{k: v for k, v in row.items() if k not in ("opinion", "upheld")} for row in both] == [
        json.loads(line) for line in plain
    ]
    of_onset = {row["onset_s"]: row["opinion"] for row in alone}
    assert of_onset[both[0]["onset_s"]] == both[0]["opinion"]  # the same sound, heard by the same verifier


def test_in_its_first_days_and_by_a_profile_it_goes_up_where_its_limit_is_broken(network, site, caplog):
    caplog.set_level(logging.INFO, "gunshot")
    for folder_ in ("models/forest", "reports"):
        (site / folder_).mkdir(parents=True)
    for name in ("forest.joblib", "report.json", "operating.json"):
        shutil.copy(site / name, site / "models" / "forest" / name)
    recalls = {0.0: 0.8, 0.25: 0.6, 0.5: 0.4, 0.75: 0.39, 1.0: 0.4}
    rows = [f"simulated,forest,{logit},200,{recall},0.1" for logit, recall in recalls.items()]
    (site / "reports" / "operating.csv").write_text("\n".join(["origin,model,logit,shots,recall,recall_lower", *rows]))
    file = network.device / ladder.FILE
    with network.broker():
        assert said(network, model="forest")[1] == 0.5 and "rung 0 of 2; it goes up where" in caplog.text
        kept = json.loads(file.read_text())
        assert kept["logits"] == [0.0, 0.25, 0.5] and kept["limit"] == 0.5 and kept["ratios"] != [1 / 6] * 3
        file.write_text(json.dumps(kept | {"rung": 1}))
        assert said(network, model="forest")[1] == pytest.approx(0.562, abs=1e-3) and "rung 1 of 2" in caplog.text
        assert said(network, "--threshold", "0.5", model="forest")[1] == 0.5  # what a person says stays
        status, point = said(network, "--site", "yard.json", model="forest")  # and a profile is another ladder
        assert status.site == "yard" and point == pytest.approx(0.562, abs=1e-3)
        kept = json.loads(file.read_text())
        assert (kept["logits"], kept["limit"], kept["rung"], len(kept["profile"])) == ([0.25, 0.5], 0.5, 0, 128)
        file.write_text(json.dumps(kept | {"ratios": [50.0] * 3}))  # 1 in 100 is passed
        status, point = said(network, "--site", "yard.json", model="forest")
        assert point == pytest.approx(0.562, abs=1e-3) and json.loads(file.read_text())["rung"] == 1
        fault = "yard: incidents there prove more than the profile's limit of 0.5 an hour; its threshold is 0.622 now; "
        assert (status.site, status.site_fault) == (None, fault + "calibrate again")
        caplog.clear()
        model = load_model(site / "models" / "forest" / "forest.joblib")  # a verifier that takes all for the place's
        own = dataclasses.replace(model, logit=lambda x: np.full(len(x), -1.0, np.float32))
        pcm, p = sound([1.0], 5.0), params.load(*SECTIONS)
        rungs = Rungs(tuple(kept["logits"]), kept["limit"], kept["profile"], "yard")
        with network.hub():
            running.listen(network.device, [(pcm, False)], model, 0.25, p, rungs=rungs, site=SITE, own=own)
        assert "and its site verifier" in caplog.text and "rung 1 of 1" in caplog.text  # after a restart too
        assert "incident 1 opened" not in caplog.text


def test_where_its_place_has_changed_it_leaves_the_profile_and_takes_it_up_again(network, site, monkeypatch, caplog):
    """A half hour is loud after two quiet weeks: the session ends, the next one has no profile, until it is quiet."""
    caplog.set_level(logging.INFO, "gunshot")
    monkeypatch.setattr(change, "LEAST_S", 2)
    model, p = load_model(site / "forest.joblib"), params.load(*SECTIONS)
    signature = profile.read(site / "yard.json", model, p, site="yard").signature
    same = {"model": running.model_number_of(model), "site": "yard", "profile": signature}
    watch, first, heard = Watch(network.device, **same), 1000 * PARTS, Heard()
    for part in range(first, first + 2 * WEEK * PARTS):
        watch.hear(part, 20.0, 0.5)
    level = np.random.default_rng(0).standard_normal(16000)

    def source(part: int, loud: float):
        for second in (0, 1, 2, 3, *range(PART_S, PART_S + 9)):
            heard.unix_s = float(part * PART_S + second)
            yield ((loud if second < PART_S else 0.0001) * level).astype(np.float32), False

    def one(part: int, loud: float) -> int:
        """How many blocks a session leaves unheard."""
        watch.turned, blocks = False, source(part, loud)
        with network.hub():
            running.listen(network.device, blocks, model, 0.25, p, rungs=Rungs((0.25,), 0.5, signature, "yard"),
                           site=SITE, heard=heard, watch=watch)  # fmt: skip
        return len(list(blocks))

    with network.broker():
        part = first + 2 * WEEK * PARTS
        assert one(part, 0.03) and watch.turned and "the place has changed: its noise is louder" in caplog.text
        status, point = said(network, "--site", "yard.json")  # what waits goes out with the next start
        assert (status.site, point) == (None, 0.5)
        every = [messages.decode(row["payload"]) for row in network.rows(database.MESSAGE)]
        assert messages.Changed(1, part * PART_S) in [getattr(one, "changed", None) for one in every]
        since = f"{datetime.fromtimestamp(part * PART_S, UTC):%Y-%m-%d %H:%M} UTC"
        assert f"yard: the place has changed since {since}, its noise is louder" in status.site_fault
        assert one(part + 1, 0.0001) and watch.changed is None and "as it was before its change" in caplog.text
        status, point = said(network, "--site", "yard.json")
        assert (status.site, point) == ("yard", pytest.approx(0.562, abs=1e-3))
