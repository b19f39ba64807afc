"""Recordings from devices: what arrives is queued, confirmed, imported and purged, and nothing else is trained on."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gunshot import tags
from gunshot.base import params, tables
from gunshot.cli import purge
from gunshot.corpora.field import scan
from gunshot.field import queue
from gunshot.models.model import Model
from gunshot.tags import Tag, catalogue

REPO = Path(__file__).parents[2]
P = params.load("audio", "chunks", "context", "features", "detector", path=REPO / "params.yaml")
STATES = st.sampled_from(["untagged", "automatic", "confirmed"])
KEYS = st.text("abc", min_size=1, max_size=4)


def put(file: Path, seed: int, sr: int = 16000, days: float = 0.0) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    sf.write(file, 0.1 * np.random.default_rng(seed).standard_normal(sr), sr)
    if days:
        then = file.stat().st_mtime - days * 86400
        os.utime(file, (then, then))
    return file


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((REPO / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gunshot(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", "from gunshot.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(REPO)})


def run(*arguments: str) -> str:
    done = gunshot(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@given(st.dictionaries(KEYS, st.tuples(STATES, st.floats(0, 1) | st.none())), st.floats(0, 1))
def test_the_queue_holds_each_once_unconfirmed_first_most_doubtful_first(recordings, point):
    states = {key: state for key, (state, _) in recordings.items()}
    scores = {key: score for key, (_, score) in recordings.items() if score is not None}
    order = queue.queue(states, scores, point)
    assert sorted(order) == sorted(states)
    ranks = [(states[key] == "confirmed", abs(scores[key] - point) if key in scores else 2) for key in order]
    assert ranks == sorted(ranks)


def test_the_queue_s_doubt_is_about_the_operating_point_of_the_detector(tmp_path):
    """What nearly raised an alert comes first, what is near the threshold of single chunks does not."""
    score = {f"dev/{name}.wav": value for name, value in {"a": 0.15, "b": 0.2, "c": 0.95, "d": 0.986}.items()}
    for i, key in enumerate(score):
        put(tmp_path / key, i)
    (tmp_path / "operating.json").write_text('{"logit": 4.0}')
    (tmp_path / "m.tflite").write_bytes(b"1")
    report = {"chunk_threshold": 0.2, "calibration": {"slope": 1.0, "intercept": 0.0}}
    model = Model(tmp_path / "m.tflite", report, logit=None, window=(32, 71))
    listed = catalogue.listed(tmp_path, tmp_path / "raw", tmp_path / "by_hand")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "scores", lambda recordings, *_, p: iter(score.items()))
        ordered, _ = queue.by_doubt(listed, model, P)
    assert list(ordered.recordings) == ["dev/d.wav", "dev/c.wav", "dev/b.wav", "dev/a.wav"]


@given(st.dictionaries(KEYS, st.tuples(st.booleans(), st.floats(-5, 100)), max_size=8), st.floats(0.1, 60))
def test_only_old_unconfirmed_recordings_expire(recordings, keep):
    now = 1e9
    files = {
        key: SimpleNamespace(lstat=lambda age=age: SimpleNamespace(st_mtime=now - age * 86400))
        for key, (_, age) in recordings.items()
    }
    states = {key: "confirmed" if confirmed else "automatic" for key, (confirmed, _) in recordings.items()}
    old = queue.expired(files, states, now=now, keep_days=keep)
    ages = {key: (now - file.lstat().st_mtime) / 86400 for key, file in files.items()}
    wanted = {key for key in ages if states[key] != "confirmed" and ages[key] > keep}
    assert set(old["recording"]) == wanted
    assert list(old["age_days"]) == sorted(old["age_days"], reverse=True)


def test_scores_are_kept_until_file_or_model_change(tmp_path):
    calls = []

    def loudest(x: np.ndarray) -> np.ndarray:
        calls.append(x.shape)
        return x.max(axis=(1, 2)) / 10

    report = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
    model = Model(tmp_path / "model.tflite", report, loudest, window=(32, 71))
    model.path.write_bytes(b"1")
    files = {f"dev/{name}.wav": put(tmp_path / f"dev/{name}.wav", i) for i, name in enumerate("ab")}
    files["dev/no.wav"] = tmp_path / "dev/no.wav"
    files["dev/no.wav"].write_bytes(b"no audio")
    cache = tmp_path / "scores.csv"
    first = dict(queue.scores(files, cache, model, p=P))
    # A second has 139 frames; before them stand 32 as a listener has it, after them 58.
    assert calls == [(1 + (32 + 139 + 58 - 71) // 8, 32, 71)] * 2
    assert first["dev/a.wav"] != first["dev/b.wav"] and first["dev/no.wav"] is None
    assert dict(queue.scores(files, cache, model, p=P)) == first and len(calls) == 2
    put(files["dev/a.wav"], 5, sr=22050)
    dict(queue.scores(files, cache, model, p=P))
    assert len(calls) == 3
    model.path.write_bytes(b"22")
    half = queue.scores(files, cache, model, p=P)
    next(half)
    half.close()  # as when the person stops it: what was scored is kept
    assert len(calls) == 4
    dict(queue.scores(files, cache, model, p=P))
    assert len(calls) == 5


@pytest.mark.slow
def test_what_is_confirmed_becomes_a_corpus_and_the_rest_waits(project):
    root = project / "data/field"
    shot, calm = put(root / "dev-1/2026/x.wav", 1, sr=48000), put(root / "dev-2/y, (é).wav", 2)
    put(root / "dev-1/z.wav", 3)
    placed = {"dev-1/2026/x.wav": [Tag(500), Tag(9000)], "dev-2/y, (é).wav": [], "dev-1/z.wav": [Tag(7, 0.8)]}
    tags.amend(root / "tags.csv", placed)
    said = run("import", "field")
    table = tables.read(project / "data/raw/field/recordings.csv", tables.RECORDING)
    assert [(r.label, r.recording_group, r.upstream) for r in table.itertuples()] == [
        ("field", "field:dev-2", "dev-2"), ("gunshot", "field:dev-1", "dev-1")
    ]  # fmt: skip
    ((tagged, placed),) = tags.read(project / "data/raw/field/tags.csv")[0].items()
    assert tagged == table["path"][1] and placed == [Tag(500), Tag(9000)]
    assert tagged.startswith("field/gun/dev-1/2026/x_")
    assert not shot.exists() and not calm.parent.exists() and (root / "dev-1/z.wav").exists()
    assert "2 originals deleted" in said and "1 recording there waits" in said
    assert tags.read(root / "tags.csv")[0] == {"dev-1/z.wav": [Tag(7, 0.8)]}


@pytest.mark.slow
def test_a_later_batch_with_the_same_names_overwrites_nothing(project):
    root = project / "data/field"
    for seed in (1, 2):
        put(root / "dev/rec001.wav", seed)
        tags.amend(root / "tags.csv", {"dev/rec001.wav": [Tag(seed)]})
        run("import", "field")
    table = tables.read(project / "data/raw/field/recordings.csv", tables.RECORDING)
    assert len(table) == 2 and table["sha256"].nunique() == 2
    assert sorted(tags.read(project / "data/raw/field/tags.csv")[0].values()) == [[Tag(1)], [Tag(2)]]


@pytest.mark.slow
def test_killed_before_the_originals_are_gone_it_goes_on(project):
    root = project / "data/field"
    put(root / "dev/a.wav", 1)
    put(root / "dev/b.wav", 2)
    tags.amend(root / "tags.csv", {"dev/a.wav": [Tag(1)], "dev/b.wav": []})
    kill = (
        "import os; from gunshot import cli; from gunshot.field import queue\n"
        "queue.remove = lambda *_: os._exit(9); cli.app(['import', 'field'])"
    )
    killed = subprocess.run([sys.executable, "-c", kill, "import", "field"], env=os.environ | {"PYTHONPATH": str(REPO)})
    assert killed.returncode == 9 and (root / "dev/a.wav").exists()
    assert "0 imported, 2 already there" in run("import", "field")
    assert not (root / "dev").exists() and tags.read(root / "tags.csv")[0] == {}
    assert "must hold a recording" in gunshot("import", "field").stderr


@pytest.mark.slow
def test_purge_deletes_old_unconfirmed_recordings_and_nothing_else(project):
    root = project / "data/field"
    old, young = put(root / "dev/old.wav", 1, days=31), put(root / "dev/young.wav", 2, days=29)
    kept, lone = put(root / "dev/kept.wav", 3, days=90), put(root / "far/lone.wav", 4, days=90)
    outside = put(project / "outside.wav", 5, days=90)
    link = root / "far/link.wav"
    link.symlink_to(outside)
    os.utime(link, (1e9, 1e9), follow_symlinks=False)
    tags.amend(root / "tags.csv", {"dev/kept.wav": [], "dev/old.wav": [Tag(1, 0.5)]})
    said = run("purge", "--dry-run")
    assert "3 files older than 30 days would be deleted" in said and str(Path("data/field/far/lone.wav")) in said
    assert old.exists() and lone.exists()
    said = run("purge")
    assert "3 files older than 30 days deleted; 1 younger one stays; 1 is confirmed" in said
    assert not old.exists() and not lone.parent.exists() and not link.is_symlink()
    assert young.exists() and kept.exists() and outside.exists()
    assert tags.read(root / "tags.csv")[0] == {"dev/kept.wav": []}
    assert "0 files older" in run("purge")


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/", exclude_categories=("Cs", "Cc")), min_size=1)


@given(st.sets(NAMES.map(lambda name: name[:60]).filter(lambda name: name not in (".", ".."))))
def test_a_file_of_any_name_is_seen_and_removed(names):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "field"
        for name in names:
            (root / "dev" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "dev" / name).write_bytes(b"x")
        root.mkdir(exist_ok=True)
        files, other = queue.files(root)
        assert set(files) == {f"dev/{name}" for name in names} and other == []
        queue.remove(root, files)
        assert queue.files(root) == ({}, []) and not (root / "dev").exists()


@pytest.mark.slow
def test_purge_goes_by_age_whatever_a_file_is_called(project):
    """No suffix, formats that nothing reads, hidden files, names that are no UTF-8: all may hold what was said."""
    root = project / "data/field"
    names = [
        "dev/rec",
        "dev/a.WAVE",
        "dev/b.m4a",
        "dev/.hidden.wav",
        "notes.txt",
        "dev/tags.csv",
        os.fsdecode(b"d/\xff"),
    ]
    for name in [*names, "dev/kept"]:
        old = put(root / "x.wav", 1, days=31).rename(root / "x")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        old.rename(root / name)
    (project / "private").mkdir()
    secret = put(project / "private/secret.wav", 5, days=90)
    (root / "dev/away").symlink_to(secret.parent)
    os.mkfifo(root / "dev/pipe")
    tags.amend(root / "tags.csv", {"dev/kept": [], "dev/rec": [Tag(1, 0.5)]})
    os.utime(root / "tags.csv", (0, 0))
    for dry in (["--dry-run"], []):
        assert all((root / name).exists() for name in names)
        said = run("purge", *dry)
        assert f"7 files older than 30 days {'would be ' * len(dry)}deleted" in said
        assert all(f"data/field/{name}  31.0 days" in said for name in [*names[:-1], "d/\\udcff"])
        assert "2 links to folders, pipes or devices are left alone: dev/away, dev/pipe" in said
    assert not any((root / name).exists() for name in names) and (root / "dev/kept").exists() and secret.exists()
    assert tags.read(root / "tags.csv")[0] == {"dev/kept": []}
    (root / "dev/kept").unlink()
    assert "0 files older" in run("purge")  # nothing left but what is no recording: no error


@pytest.mark.slow
def test_purge_deletes_nothing_behind_a_link_and_nothing_confirmed_meanwhile(project):
    old = put(project / "elsewhere/dev/a.wav", 1, days=90)
    (project / "data").mkdir()
    (project / "data/field").symlink_to(project / "elsewhere")
    assert "what lies behind a link is left alone" in gunshot("purge").stderr
    root = project / "elsewhere"
    tags.amend(root / "tags.csv", {"dev/a.wav": []})
    with pytest.raises(tags.ChangedError, match=r"dev/a\.wav"):
        queue.remove(root, ["dev/a.wav"], expected={"dev/a.wav": [Tag(1, 0.5)]})
    assert old.exists() and tags.read(root / "tags.csv")[0] == {"dev/a.wav": []}


def test_a_file_that_cannot_be_deleted_keeps_no_other(project, monkeypatch, capsys):
    """Each other one goes, all that went are listed, and the command fails."""
    root = project / "data/field"
    for i, name in enumerate("abc"):
        put(root / f"dev/{name}.wav", i, days=40 - i)
    unlink = Path.unlink

    def guarded(path: Path, missing_ok: bool = False) -> None:
        if path.name == "a.wav":
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", guarded)
    with pytest.raises(ValueError, match=r"1 file is .* still there.*: data/field/dev/a\.wav: Operation not permitted"):
        purge.purge(dry_run=False)
    said = capsys.readouterr().out
    assert "2 files older than 30 days deleted" in said and "b.wav  39.0" in said and "c.wav  38.0" in said
    assert "a.wav" not in said and [file.name for file in (root / "dev").iterdir()] == ["a.wav"]


@pytest.mark.slow
@pytest.mark.parametrize("line", [b"dev/caf\xe9.wav,100\n", b"dev/b.wav;100\n"])
def test_purge_deletes_nothing_while_a_confirmed_recording_cannot_be_read(project, line):
    """A spreadsheet saved tags.csv in Latin-1, or with semicolons: the line must not lose its recording."""
    root = project / "data/field"
    name = os.fsdecode(line[: line.index(b".wav") + 4])
    put(root / "x.wav", 1, days=90)
    (root / "dev").mkdir()
    (root / "x.wav").rename(root / name)
    (root / "tags.csv").write_bytes(line)
    done = gunshot("purge")
    assert done.returncode == 1 and "tags.csv" in done.stderr and "mend the file" in done.stderr
    assert (root / name).exists()


@pytest.mark.slow
def test_an_empty_field_is_no_error_to_a_scheduler(project):
    assert "nothing there" in run("purge")
    assert "no such folder" in gunshot("import", "field").stderr


@pytest.mark.slow
def test_a_recording_without_a_device_is_rejected_and_stays(project):
    root = project / "data/field"
    put(root / "alone.wav", 4)
    tags.amend(root / "tags.csv", {"alone.wav": []})
    said = gunshot("import", "field").stderr
    assert "alone.wav: no device: a recording must lie in a folder named after its device" in said
    assert (root / "alone.wav").exists() and not (project / "data/raw/field/recordings.csv").exists()


def test_what_nobody_confirmed_keeps_no_confirmed_recording_from_import(project):
    root = project / "data/field"
    tags.amend(root / "tags.csv", {"dev/link.wav": [], "dev/a.wav": []})
    outside = put(project / "b.wav", 1)
    put(root / "dev/a.wav", 2)
    os.mkfifo(root / "dev/pipe")
    for name in ("link.wav", "unconfirmed.wav"):
        (root / "dev" / name).symlink_to(outside)
    sources, bad = scan(root)
    assert [source.name for source in sources] == ["dev/a.wav"] and [row["file"] for row in bad] == ["dev/link.wav"]


@pytest.mark.slow
def test_bad_tags_are_named_and_nothing_is_imported_by_them(project):
    root = project / "data/field"
    put(root / "dev/a.wav", 1)
    (root / "tags.csv").write_text("dev/a.wav,many\n")
    sources, bad = scan(root)
    assert sources == [] and bad[0]["file"] == "tags.csv:1"
    assert "tags.csv:1: start 'many'" in gunshot("import", "field").stderr
    assert (root / "dev/a.wav").exists()


def test_no_stage_reads_what_devices_send_and_git_ignores_it():
    stages = yaml.safe_load((REPO / "dvc.yaml").read_text())["stages"].values()
    assert stages and not any(
        "data/field".startswith(dep) or dep.startswith("data/field") for s in stages for dep in s["deps"]
    )
    done = subprocess.run(["git", "check-ignore", "data/field/dev/x.wav"], cwd=REPO, capture_output=True)
    assert done.returncode == 0
