"""Sound that was ordered and decided on: what of it the pipeline takes, and as what."""

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql
from typer.testing import CliRunner

from gunshot import cli, tags
from gunshot.base import audio, tables
from gunshot.corpora import field
from gunshot.device import orders as device_orders
from gunshot.device import parts
from gunshot.hub import collect, database, orders
from gunshot.hub.console import decisions
from gunshot.hub.console.decisions import Kind
from gunshot.hub.console.roles import Role
from gunshot.hub.database import CASE, CLIP, ORDER, PERSON
from gunshot.tags import Tag
from tests.device.test_answers import KEY
from tests.device.test_answers import ORDER as ASKED
from tests.firmware.driven import ROOT, p, shots
from tests.hub.console import Scene
from tests.hub.network import Network, Sender

pytestmark = pytest.mark.slow
SR = p.audio.sr
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEARD_S = [2.7, 9.1]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project's folder, with nothing from devices yet."""
    root = tmp_path / "project"
    root.mkdir()
    for name in ("params.yaml", "dvc.yaml"):
        (root / name).write_bytes((ROOT / name).read_bytes())
    monkeypatch.chdir(root)
    return root


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def decide(url: str, case: int, kind: Kind, label: str = "") -> None:
    """Say of a case what it was, as the last word."""
    with database.opened(url) as engine, engine.begin() as connection:
        seen = max((row.number for row in decisions.history(connection, [case])), default=0)
        now = datetime.now(UTC)
        decisions.enter(connection, case, "anna", kind, label=label, note="", seen=seen, now=now)


def test_what_was_decided_of_a_device_s_sound_is_what_the_pipeline_learns(project, tmp_path):
    """From a device's ring, over the broker, to data/raw; a decision that changes later changes it there."""
    network, pcm = Network(tmp_path / "hub"), shots(HEARD_S, 11.0, seed=3)
    with network.broker(), network.hub(), contextlib.closing(Sender(network.device)) as sender:
        sender.hear(pcm)
        sender.pump_until(lambda: not len(sender.outbox), "the incidents are stored")
        spans = [(round((at - 2) * SR), round((at + 1) * SR)) for at in HEARD_S]
        for span in spans:
            network.ask(*span)
        done = ["complete"] * 2
        sender.pump_until(lambda: [row["state"] for row in network.rows(ORDER)] == done, "both clips are written")
    with database.opened(network.url) as engine, engine.begin() as connection:
        connection.execute(sql.insert(PERSON).values(name="anna", role=Role.reviewer, password="", disabled=False))
    assert "2 clips not filed: to be decided" in run("hub", "collect", network.folder)
    door, burst = (row["number"] for row in network.rows(CASE))
    decide(network.url, door, Kind.dismiss, "door")
    decide(network.url, burst, Kind.confirm)

    said = run("hub", "collect", network.folder)
    assert "2 recordings filed below data/field (1 door, 1 gunshot); 0 filed before" in said
    assert "0 recordings filed below data/field; 2 filed before" in run("hub", "collect", network.folder)
    run("purge")
    assert "2 imported" in run("import", "field") and not (project / "data/field/roof").exists()
    raw = project / "data/raw"
    table = tables.read(raw / "field/recordings.csv", tables.RECORDING)
    assert [(row["class"], row["label"], row["recording_group"]) for _, row in table.iterrows()] == [
        ("env", "door", "field:roof"), ("gun", "gunshot", "field:roof")
    ]  # fmt: skip
    for path, (start, stop) in zip(table["path"], spans, strict=True):
        assert np.array_equal(audio.read_pcm(raw / path, sr=SR), pcm[start:stop])
    placed, _ = tags.read(raw / "field/tags.csv")
    ((path, (tag,)),) = placed.items()
    assert path == table["path"][1] and abs(tag.start - 2 * SR) < 0.01 * SR and tag.confidence is None
    assert "0 recordings filed below data/field; 2 filed before" in run("hub", "collect", network.folder)

    decide(network.url, burst, Kind.dismiss, "fireworks")
    assert "1 recording filed below data/field (1 fireworks)" in run("hub", "collect", network.folder)
    said = run("import", "field")
    assert f"1 recording was decided otherwise since, and is taken out: {path}" in said
    table = tables.read(raw / "field/recordings.csv", tables.RECORDING)
    assert sorted(zip(table["class"], table["label"], strict=True)) == [("env", "door"), ("env", "fireworks")]
    assert len(list(raw.rglob("*.wav"))) == 2 and tags.read(raw / "field/tags.csv")[0] == {}


class Clips(Scene):
    """A hub with the cases of a night, and sound of some of them; each device's incidents begin at sample 100,000."""

    def clip(
        self, order: str, device: str, start: int, samples: int = 20_000, *, sr: int = SR, persons: tuple[str, ...] = ()
    ) -> np.ndarray:
        """What a device sent on an order, which persons overruled; its samples."""
        pcm = np.random.default_rng(int(order)).integers(-9000, 9000, samples).astype(np.int16)
        (self.folder / orders.SOUND).mkdir(exist_ok=True)
        (self.folder / orders.SOUND / f"{order}.flac").write_bytes(parts.to_flac(pcm, sr))
        payload = device_orders.sign(device_orders.overruled(ASKED, dict.fromkeys(persons, KEY)), KEY)
        asked = {"reason": "a test", "person": "anna", "payload": payload, "issued_at": NOW, "expires_at": NOW}
        sent = {"file": f"{order}.flac", "session": 1, "start": start, "samples": samples, "sr": sr, "kept": False}
        with self.writing() as connection:
            values = {"id": order, "device": device, "seconds": samples / sr, "state": orders.COMPLETE}
            connection.execute(sql.insert(ORDER).values(**values, **asked))
            values = {"order": order, "sha256": audio.sha256(pcm), "written_at": NOW}
            connection.execute(sql.insert(CLIP).values(**values, **sent))
        return pcm

    def collect(self, root: Path) -> collect.Summary:
        with self.writing() as connection:
            clips = collect.clips(connection, sr=SR)
        return collect.collect(clips, self.folder / orders.SOUND, root, root.with_name("raw") / "field", sr=SR)


@pytest.fixture
def scene(tmp_path) -> Clips:
    scene = Clips(tmp_path / "hub")
    scene.person("anna", Role.reviewer)
    return scene


def filed(root: Path) -> dict[str, list[Tag] | None]:
    """The recordings in data/field, and their tags."""
    placed = tags.read(root / "tags.csv")[0] if (root / "tags.csv").exists() else {}
    names = {path.relative_to(root).as_posix() for path in root.rglob("*.wav")}
    assert placed.keys() <= names
    return {name: placed.get(name) for name in names}


def test_a_clip_is_what_all_that_is_heard_in_it_was_decided_to_be(scene, tmp_path):
    root = tmp_path / "field"
    for number in (1, 2, 4):
        scene.case(number, NOW, ("gate",) if number < 3 else ("yard",), shots=number)
    scene.case(3, NOW, ("fountain",), site="park", exercise=True)
    for order, (device, start) in enumerate(
        [("gate", 90_000), ("yard", 90_000), ("yard", 103_300), ("fountain", 90_000), ("roof-north", 90_000)], 1
    ):
        scene.clip(str(order), device, start)
    scene.clip("6", "yard", 90_000, sr=8000)
    for number, kind, label in ((1, Kind.dismiss, "door"), (3, Kind.confirm, ""), (4, Kind.confirm, "")):
        decide(scene.url, number, kind, label)
    left = scene.collect(root).left
    shot = [Tag(10_000 + 1600 * i) for i in range(4)]
    assert filed(root) == {"yard/decision/gunshot/2.wav": shot, "yard/decision/gunshot/3.wav": [Tag(1500)]}
    assert dict(left) == {
        "to be decided": 1, "of a drill": 1, "no incident in them": 1, f"at another rate than {SR} Hz": 1,
    }  # fmt: skip
    decide(scene.url, 2, Kind.dismiss, "tool")
    scene.collect(root)
    assert filed(root)["gate/decision/door/1.wav"] == []
    decide(scene.url, 2, Kind.confirm)
    scene.collect(root)
    assert filed(root)["gate/decision/gunshot/1.wav"] == [Tag(10_000), Tag(11_600)]
    scene.clip("7", "yard", 105_000)  # after the last onset, and before it was decided
    assert scene.collect(root).left["cut off before the shot"] == 1 and len(filed(root)) == 3
    scene.clip("8", "yard", 90_100, persons=("anna", "ben"))  # what people said is nothing to learn from
    assert scene.collect(root).left[collect.OVERRULED] == 1 and len(filed(root)) == 3


def test_what_a_person_tagged_stays_and_a_decision_that_no_longer_holds_takes_it_back(scene, tmp_path):
    """The case is raised after it was decided: another device heard it too."""
    root = tmp_path / "field"
    scene.case(1, NOW, ("gate",), raised=False)
    pcm = scene.clip("1", "gate", 90_000)
    decide(scene.url, 1, Kind.confirm)
    assert scene.collect(root).filed == {"gunshot": 1}
    tags.amend(
        root / "tags.csv",
        {
            "gate/decision/gunshot/1.wav": [Tag(9_990)],
        },
    )
    assert scene.collect(root).before == 1
    assert filed(root) == {"gate/decision/gunshot/1.wav": [Tag(9_990)]}
    with scene.writing() as connection:  # the hub's clip is gone by its age; what is filed is there, and moves
        orders.purge(connection, scene.folder / orders.SOUND, keep_days=30.0, now=NOW + timedelta(days=31))
    decide(scene.url, 1, Kind.dismiss, "fireworks")
    assert scene.collect(root).filed == {"fireworks": 1}
    assert filed(root) == {"gate/decision/fireworks/1.wav": []}
    assert np.array_equal(audio.read_pcm(root / "gate/decision/fireworks/1.wav", sr=SR), pcm)
    with scene.writing() as connection:
        connection.execute(sql.update(CASE).values(raised_at=datetime.now(UTC) + timedelta(seconds=1)))
    done = scene.collect(root)
    assert (done.withdrawn, dict(done.left)) == (1, {"to be decided": 1}) and filed(root) == {}


@pytest.mark.parametrize("dies_before", ["amend", "write_pcm", "replace"])
def test_killed_at_any_time_nothing_is_confirmed_by_halves(scene, tmp_path, dies_before):
    root = tmp_path / "field"
    for number, device in ((1, "gate"), (2, "yard")):
        scene.case(number, NOW, (device,))
        scene.clip(str(number), device, 90_000)
        decide(scene.url, number, Kind.dismiss, "door")
    if dies_before == "replace":
        scene.collect(root)
        decide(scene.url, 2, Kind.confirm)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        place = {"amend": tags, "write_pcm": audio, "replace": Path}[dies_before]

        def die(*_, **__):
            raise KeyboardInterrupt

        patch.setattr(place, dies_before, die)
        scene.collect(root)
    at_once = [placed for name, placed in filed(root).items() if "/2." in name]
    assert at_once in ([], [None])
    scene.collect(root)
    shot = [Tag(10_000 + 1600 * i) for i in range(3)]
    expected = {"gate/decision/door/1.wav": [], "yard/decision/door/2.wav": []}
    if dies_before == "replace":
        expected = {"gate/decision/door/1.wav": [], "yard/decision/gunshot/2.wav": shot}
    assert filed(root) == expected


def test_sound_that_is_not_what_the_device_hashed_is_named_and_nothing_is_filed(scene, tmp_path):
    for number, device in ((1, "gate"), (2, "yard")):
        scene.case(number, NOW, (device,))
        scene.clip(str(number), device, 90_000)
        decide(scene.url, number, Kind.confirm)
    other = parts.to_flac(np.zeros(20_000, np.int16), SR)
    (scene.folder / orders.SOUND / "2.flac").write_bytes(other)
    with pytest.raises(ValueError, match=r"2\.flac: its samples must be those of its row"):
        scene.collect(tmp_path / "field")
    (scene.folder / orders.SOUND / "2.flac").write_bytes(other[:100])
    with pytest.raises(ValueError, match=r"2\.flac: cannot be read"):
        scene.collect(tmp_path / "field")
    os.unlink(scene.folder / orders.SOUND / "2.flac")
    with pytest.raises(ValueError, match=r"2\.flac: cannot be read"):
        scene.collect(tmp_path / "field")
    assert not (tmp_path / "field").exists()


def test_an_import_that_was_killed_takes_out_the_rest_the_next_time(tmp_path):
    out, by_hand = tmp_path / "raw/field", tmp_path / "tags"
    for name in ("gun/gate/1.wav", "gun/yard/2.wav"):
        audio.write_pcm(out / name, np.ones(100, np.int16), sr=SR)
    paths = ["field/gun/gate/1.wav", "field/gun/yard/2.wav"]
    empty = dict.fromkeys(tables.RECORDING, "")
    rows = [empty | {"path": path, "class": "gun", "sr_found": SR, "duration_s": 0.1} for path in paths]
    tables.write(out / "recordings.csv", tables.frame(rows, tables.RECORDING))
    for file in (out / "tags.csv", by_hand / "field.csv"):
        tags.amend(file, {path: [Tag(1)] for path in paths})
    audio.write_pcm(tmp_path / "in/gate/decision/door/1.wav", np.ones(100, np.int16), sr=SR)
    tags.amend(tmp_path / "in/tags.csv", {"gate/decision/door/1.wav": []})
    sources, _ = field.scan(tmp_path / "in")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(tables, "write", lambda *_: 1 / 0)
        field.withdraw(sources, out, by_hand)
    assert field.withdraw(sources, out, by_hand) == paths[:1] and field.withdraw(sources, out, by_hand) == []
    assert list(tables.read(out / "recordings.csv", tables.RECORDING)["path"]) == paths[1:]
    assert [path.name for path in out.rglob("*.wav")] == ["2.wav"]
    for file in (out / "tags.csv", by_hand / "field.csv"):
        assert tags.read(file)[0] == {paths[1]: [Tag(1)]}
