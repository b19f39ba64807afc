"""Git and DVC as their commands: commits, tags, and files as they were at a commit."""

import configparser
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

FIELDS = ("refname:short", "*objectname", "taggerdate:unix", "contents")
DVC = Path(sys.executable).with_name("dvc")


class Tag(NamedTuple):
    """An annotated tag; `commit` is empty where someone made it a plain one."""

    commit: str
    seconds: int
    message: str


class Repository:
    """The project's folder, in Git."""

    def __init__(self, root: Path):
        self.root = root

    def git(self, *arguments: str, text: str | None = None, **env: str) -> bytes:
        """Return what `git ...` prints; ValueError with its message where it fails."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.root, env=os.environ | env, input=text.encode() if text else None, capture_output=True,
        )  # fmt: skip
        if done.returncode:
            raise ValueError(f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def commit(self, revision: str) -> str:
        """Return the full name of a commit; ValueError where there is no such one."""
        try:
            return self.git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
        except ValueError:
            raise ValueError(f"candidate={revision!r} must be a commit, branch or tag of this repository") from None

    def show(self, commit: str, path: Path) -> bytes:
        """Return a file in Git as it was at a commit."""
        return self.git("show", f"{commit}:./{path.as_posix()}")

    def ready(self) -> None:
        """Raise ValueError where a commit could not be made, before anything is written."""
        try:
            self.git("symbolic-ref", "--quiet", "HEAD")
        except ValueError:
            raise ValueError("HEAD is detached; check out the branch that carries the record") from None
        if Path(os.fsdecode(self.git("rev-parse", "--absolute-git-dir")).strip(), "MERGE_HEAD").exists():
            raise ValueError("a merge is under way; finish it first")
        self.git("var", "GIT_COMMITTER_IDENT")

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the only right to write to the record, in all worktrees; it ends with this process, however that ends.

        ValueError where another has it.
        """
        common = Path(self.root, os.fsdecode(self.git("rev-parse", "--git-common-dir")).strip())
        with (common / "gunshot-record.lock").open("w") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    "another decision is just being recorded; look at `gunshot models`, then decide"
                ) from None
            yield

    def save(self, paths: list[Path], message: str) -> None:
        """Commit these files, and nothing else that is staged or changed; nothing to do where they are committed."""
        names = [path.as_posix() for path in paths]
        if not self.git("status", "--porcelain", "--ignored", "--", *names):
            return
        self.git("add", "--force", "--", *names)
        self.git("commit", "--quiet", "--no-verify", "--only", "-m", message, "--", *names)

    def tags(self, artifact: str) -> dict[str, Tag]:
        """Return the tags that GTO would read as this artifact's, by name."""
        form = "%00".join(f"%({field})" for field in FIELDS) + "%00"
        listed = self.git("for-each-ref", f"--format={form}", "refs/tags").decode(errors="replace")
        tags, fields = {}, listed.split("\0")
        for name, commit, seconds, message in zip(*(fields[i:-1:4] for i in range(4)), strict=True):
            if re.match(rf"{re.escape(artifact)}[@#]", name.strip()):
                tags[name.strip()] = Tag(commit, int(seconds or 0), message.strip())
        return tags

    def tag(self, name: str, commit: str, message: str, *, seconds: int) -> None:
        """Make an annotated tag with this date: GTO and DVC take the latest date for what is in a stage."""
        options = ["-a", "--cleanup=verbatim", "-F", "-"]
        self.git("tag", *options, name, commit, text=message, GIT_COMMITTER_DATE=f"{seconds} +0000")

    def remotes(self) -> list[str]:
        """Return the options that make DVC ask the present remote, whatever remote that commit names."""
        path = Path(self.root, ".dvc", "config").absolute()
        config = configparser.ConfigParser(interpolation=None)
        config.read(path)
        return ["--config", str(path)] if config.has_option("core", "remote") else []

    def data(self, commit: str, path: Path, to: Path) -> Path:
        """Write what DVC keeps at `path`, a file or folder, as it was at a commit, to `to`, from the cache or remote.

        ValueError where neither has it.
        """
        command = [DVC, "get", "--force", ".", path.as_posix(), "--rev", commit, "--out", to.absolute()]
        done = subprocess.run([*command, *self.remotes()], cwd=self.root, capture_output=True, text=True)
        if done.returncode or not to.exists():
            error = re.search(r"^ERROR: (?:unexpected error - )?(.*)", done.stderr, re.MULTILINE)
            reason = error[1] if error else f"dvc get exited with {done.returncode}"
            raise ValueError(
                f"{path} of {commit[:12]}: neither DVC's cache nor its remote gives it: {reason}; "
                "reach the remote (`dvc pull`) and repeat"
            )
        return to

    def artifact(self, commit: str, path: Path) -> bytes:
        """Return a model's bytes at a commit; ValueError where they are not those that its dvc.lock names.

        `dvc get` itself hands on a corrupt object of the cache without a word.
        """
        outs = [
            out
            for stage in yaml.safe_load(self.show(commit, Path("dvc.lock")))["stages"].values()
            for out in stage.get("outs", [])
            if out["path"] == path.as_posix()
        ]
        if not outs:
            raise ValueError(f"{path}: dvc.lock of {commit[:12]} does not name it; commit dvc.lock after `dvc repro`")
        with tempfile.TemporaryDirectory() as folder:
            content = self.data(commit, path, Path(folder, "artifact")).read_bytes()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != (named := outs[0]["md5"]):
            raise ValueError(
                f"{path} of {commit[:12]}: md5={md5} must be {named}; the object is corrupt: "
                f"remove .dvc/cache/files/md5/{named[:2]}/{named[2:]} and repeat, DVC then takes the remote's"
            )
        return content
