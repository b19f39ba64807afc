"""A copy of the project in a temporary folder, with a small corpus, and the commands that a person types there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
SOURCES = (
    ".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore", "data/tags", "dvc.yaml", "firmware/src",
    "gunshot", "params.yaml", "reports/tagging.json", "stages",
)  # fmt: skip
SMALL = {
    "simulate": {"seed": 2, "gun_recordings": 24, "env_recordings": 40, "duration_s": [1.5, 2.0]},
    "streams": {"hours": 0.02, "shot_hours": 0.02, "train_hours": 0.02, "stream_s": 30.0},
    "augment": {"gun_copies": 1, "env_copies": 1},
    "forest": {"n_estimators": [10], "max_depth": [6], "max_features": [0.1], "folds": 2, "search_rows": 400},
    "network": {"width": 1.0, "epochs": 2, "chunks": 512},
    "quantize": {"representative": 32},
}
LESS = (
    ("stages/export.py", "WINDOWS = 10_000", "WINDOWS = 600"),
    ("gunshot/device/parity.py", "DURATION_S, EVENTS_PER_MIN = 1, 60.0", "DURATION_S, EVENTS_PER_MIN = 1, 20.0"),
)
# Notes which files each stage opens and renames; libsndfile's reading in C is not seen.
TRACE = """
import os, sys
log = os.environ.get("STAGE_TRACE")
if log and "DVC_STAGE" in os.environ:
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    root = os.environ["DVC_ROOT"] + os.sep
    def note(event, args):
        if event == "open" and isinstance(args[0], (str, os.PathLike)):
            written = bool((args[2] or 0) & (os.O_WRONLY | os.O_RDWR))
            path = args[0]
        elif event == "os.rename":
            written, path = True, args[1]
        else:
            return
        path = os.path.abspath(path)
        if path.startswith(root):
            line = f"{os.environ['DVC_STAGE']},{'w' if written else 'r'},{path[len(root):]}\\n"
            os.write(fd, line.encode())
    sys.addaudithook(note)
"""


class Project:
    """A folder with the project's sources, as a clone has them."""

    def __init__(self, root: Path, shared: Path):
        self.root, self.shared = root, shared

    @property
    def env(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))}
        return kept | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(self.root), str(self.shared)]),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(self.shared / "site"),
            "DVC_GLOBAL_CONFIG_DIR": str(self.shared / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(self.shared / "system"),
            **{
                f"GIT_{who}_{what}": "test@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
            },
        }

    def run(self, *command: str, fails: bool = False, **env: str) -> str:
        """Return all that a command prints; it must fail where `fails`, else succeed."""
        done = subprocess.run(
            command, cwd=self.root, env=self.env | env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert (done.returncode != 0) == fails, f"{command}: exit {done.returncode}\n{done.stdout[-6000:]}"
        return done.stdout

    def repro(self, *args: str, **kwargs) -> str:
        return self.run("dvc", "repro", *args, **kwargs)

    def commit(self, message: str) -> None:
        self.run("git", "add", "-A")
        self.run("git", "commit", "-qm", message)

    def params(self, changes: dict[str, dict]) -> dict[str, dict]:
        """Change params.yaml, and return what these changes replaced."""
        path = self.root / "params.yaml"
        document = yaml.safe_load(path.read_text())
        before = {
            section: {name: document[section].get(name) for name in values} for section, values in changes.items()
        }
        for section, values in changes.items():
            document[section].update(values)
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return before

    def lock(self) -> dict:
        return yaml.safe_load((self.root / "dvc.lock").read_text())["stages"]

    def copy(self, to: Path) -> "Project":
        """Return a project with all that this one has, made or not."""
        shutil.copytree(self.root, to, symlinks=True)
        return Project(to, self.shared)


def ran(output: str) -> list[str]:
    """The stages that `dvc repro` ran, in order."""
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage '")]


def snapshot(to: Path) -> None:
    """Copy the sources, so that all projects of a run have the same ones, whoever edits them meanwhile.

    With what Numba has compiled of them: each project would spend half a minute on that.
    """
    for name in SOURCES:
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("*.pyc", "*.csv"))
        else:
            shutil.copy2(ROOT / name, target)


def compare_less(root: Path) -> None:
    """Let a copy compare its C with TFLM and with Python on less; the project's own is held to all of it elsewhere."""
    for name, text, less in LESS:
        content = (root / name).read_text()
        assert text in content, name
        (root / name).write_text(content.replace(text, less))


def fresh(root: Path, sources: Path, shared: Path) -> Project:
    """Return a new project with small params, committed, nothing made yet."""
    shutil.copytree(sources, root)
    project = Project(root, shared)
    project.params(SMALL)
    project.run("git", "init", "-q", "-b", "main")
    project.commit("sources")
    return project
