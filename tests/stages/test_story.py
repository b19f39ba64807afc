"""The whole story on a small corpus, by the commands that a person types: from a first model to a rollback."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy import signal

from gunshot import tags
from gunshot.signing import record
from gunshot.simulate import streams
from tests.flows.prefect_server import Server
from tests.stages.project import ROOT, SMALL, Project, compare_less

pytestmark = [pytest.mark.long, pytest.mark.timeout(2400)]
EASY = {
    # The lowest threshold of few minutes that lets this through, so that so small a network finds shots at all.
    "detector": {"max_false_incidents_per_hour": 240.0},
    # So little audio proves no bound, and its few shots make recall jump; the test against the champion stays as it is.
    "promotion": {"max_false_incidents_per_hour": 1000.0, "max_int8_drop": 0.2, "min_seeds": 2, "max_seed_spread": 1.0},
}
WORSE = {"network": {"label_smoothing": 1.0}, "detector": {"windows": 16}}  # targets of one half: it learns nothing
SR = 16000
pytest_plugins = "tests.flows.prefect_server"
MODEL = Path("models/quantized/model.tflite")


class Story(Project):
    """The project as its files in Git, with a remote for Git and one for DVC, and what its people do."""

    @property
    def env(self) -> dict[str, str]:
        home = self.shared / "home"
        return super().env | {
            "HOME": str(home),
            "GUNSHOT_KEY": str(home / "key.pem"),
        }

    def begin(self, pipeline: Project) -> None:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
        compiled = [path.relative_to(ROOT).as_posix() for path in (ROOT / "gunshot").rglob("__pycache__/*.nb[ic]")]
        for name in filter(None, [*listed.split("\0"), *compiled]):  # as in a clone where `make` ran
            is_output = name == "dvc.lock" or name.startswith(("reports/", "models/", "data/splits"))
            if (not is_output or name == "reports/tagging.json") and (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        # As a clone in which the firmware was built once: its sources are not fetched anew for each candidate.
        shutil.copytree(ROOT / "firmware/third_party", self.root / "firmware/third_party", dirs_exist_ok=True)
        (self.shared / "home").mkdir(parents=True)
        # As where `make` ran: what the first training has in common with it comes from DVC's run cache.
        shutil.copytree(pipeline.root / ".dvc/cache", self.root / ".dvc/cache")
        compare_less(self.root)
        self.params(SMALL)
        self.params(EASY)
        self.run("git", "init", "-q", "-b", "main")
        self.run("git", "init", "-q", "--bare", str(self.shared / "origin.git"))
        self.run("git", "remote", "add", "origin", str(self.shared / "origin.git"))
        self.run("dvc", "remote", "add", "-q", "-d", "store", str(self.shared / "store"))
        self.run("gunshot", "models", "key", "operator")
        self.commit("A small corpus")

    def flow(self, name: str, *arguments: str) -> str:
        return self.run(sys.executable, "-m", f"flows.{name}", *arguments)

    def candidates(self) -> list[Path]:
        return sorted(path.relative_to(self.root) for path in self.root.glob("reports/candidates/*Z"))

    def gates(self, folder: Path) -> dict[str, dict]:
        return {gate["name"]: gate for gate in json.loads((self.root / folder / "gates.json").read_text())["gates"]}

    def failed(self, folder: Path) -> list[str]:
        return [name for name, gate in self.gates(folder).items() if not gate["passed"]]

    def approve(self, folder: Path, reason: str, overrule: Sequence[str] = (), **kwargs) -> str:
        small = json.loads((self.root / folder / "gates.json").read_text())["small"]
        seen = [text for axis in sorted({name.partition("=")[0] for name in small}) for text in ("--acknowledge", axis)]
        seen += [text for name in overrule for text in ("--overrule", f"{name}=one burst of a few")]
        return self.run("gunshot", "review", str(folder), "approve", "--by", "Ada", "--reason", reason, *seen, **kwargs)

    def take(self, folder: Path) -> None:
        """Merge a promoted candidate's branch, as DOC/operations.md says."""
        self.run("git", "merge", "-q", "-m", f"Merge {folder.name}", f"retrain/{folder.name}")
        self.run("dvc", "checkout", "-q")

    def sha256(self) -> str:
        return hashlib.sha256((self.root / MODEL).read_bytes()).hexdigest()

    def arrive(self, n: int) -> dict[str, list[tags.Tag]]:
        """Let a device send what it heard, with little above 1 kHz: it is covered. Return where the shots are."""
        root, placed, covered = self.root / "data/field", {}, signal.butter(8, 1000, fs=SR, output="sos")
        (root / "mast-1").mkdir(parents=True)
        for i in range(n):
            given = {"sr": SR, "stream_s": 30.0, "events_per_min": 0.0, "distance_m": (2.0, 100.0)}
            stream = streams.render(77, "train", i, "shots", **given)
            name = f"mast-1/{i:03d}.wav"
            sf.write(root / name, np.clip(signal.sosfilt(covered, stream.pcm / 32768), -1, 1), SR)
            placed[name] = [tags.Tag(shot["onset"]) for shot in stream.shots if shot["heard"]]
        return placed

    def mark(self, placed: dict[str, list[tags.Tag]]) -> None:
        """A person listens, and marks the shots."""
        tags.amend(self.root / "data/field/tags.csv", placed)


@pytest.fixture
def story(pipeline, tmp_path, stopped: Server) -> Iterator[Story]:
    """The project before its first model, and a server on which all of its flows run."""
    (tmp_path / "project").mkdir()
    story = Story(tmp_path / "project", tmp_path / "shared")
    story.begin(pipeline)
    with stopped.running():
        yield story


def refuse_a_worse_one(story: Story, first: Path) -> None:
    """Field data drifts and starts a retraining. What it trains is worse, and its gates refuse it."""
    before = story.params(WORSE)
    story.commit("Smooth the targets, average a second")
    printed = story.flow("monitor")
    second = story.candidates()[-1]
    assert second != first and "drift: " in printed
    assert "recall" in story.failed(second)
    assert "recall" in story.approve(second, "it is faster", fails=True)
    story.run("gunshot", "review", str(second), "reject", "--by", "Ada", "--reason", "it hears nothing")
    story.flow("review", str(second))
    story.flow("monitor")
    assert story.candidates()[-1] == second, "the same batch starts no second one"
    story.params(before)
    story.commit("Train as before")


@pytest.mark.parametrize("worse", [False, pytest.param(True, marks=pytest.mark.exhaustive)])
def test_from_the_first_model_to_a_rollback(story, worse):
    # The first training is promoted.
    story.flow("retrain", "the first")
    [first] = story.candidates()
    assert story.failed(first) == []
    story.approve(first, "the first")
    story.flow("review", str(first))
    story.take(first)
    model = story.sha256()

    # What the field sends drifts. A better one, with these recordings, is approved and promoted.
    placed = story.arrive(30)
    if worse:
        refuse_a_worse_one(story, first)
        story.mark(placed)
        story.flow("retrain", "the mast's recordings")
    else:
        story.mark(placed)
        assert "drift: " in story.flow("monitor")
    second = story.candidates()[-1]
    assert second != first
    chance = story.failed(second)  # one burst is a third of the few shots here: a person looks, and says so
    assert set(chance) <= {"recall", "recall-slices"}
    story.approve(second, "it knows the mast", overrule=chance)
    story.flow("review", str(second))
    story.take(second)
    assert story.sha256() != model

    # It is taken back: the first one's bytes are in production again.
    story.flow("rollback", "Bo", "alarms at noon")
    exported = story.root / "models/promoted/v1.0.0" / MODEL.name
    assert hashlib.sha256(exported.read_bytes()).hexdigest() == model

    # The registry and the tags tell it, here and in a clone.
    known = json.loads(story.run("gunshot", "models", "--format", "json"))
    assert known["champion"] == "v1.0.0"
    entries = [(entry["event"], entry["version"], entry["by"]) for entry in record.read(story.root)]
    assert entries == [
        ("promoted", "v1.0.0", "Ada"), *([("rejected", None, "Ada")] if worse else []),
        ("promoted", "v1.1.0", "Ada"), ("rolled back", "v1.0.0", "Bo"),
    ]  # fmt: skip
    story.run("gunshot", "models", "verify")
    there = story.run("git", "ls-remote", "--tags", "--refs", "origin")
    assert sorted(line.split("refs/tags/")[1] for line in there.splitlines()) == story.run("git", "tag").split()
    assert {"int8@v1.0.0", "int8@v1.1.0", "int8#prod#1"} <= set(story.run("git", "tag").split())
