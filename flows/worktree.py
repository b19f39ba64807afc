"""A Git worktree and branch of its own for one retraining, so that nobody's working tree changes."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from flows.commands import DVC, run
from gunshot.base import pipeline

FOLDER, BRANCH = Path(".worktrees"), "retrain"
TIME = "%Y%m%dT%H%M%SZ"
LIMIT = "retrain"
LEASE_S, WAIT_S = 60, 90  # a killed process's place is free after LEASE_S, and the next one waits for that


class RunningError(RuntimeError):
    """Another retraining is running; the message tells which."""


@contextmanager
def alone(reason: str) -> Iterator[None]:
    """Hold the only right to retrain, in all worktrees and on all machines of one Prefect server.

    Here it ends with this process, however that ends; on the server within LEASE_S after that. RunningError where
    another has it.
    """
    with _locked(reason), _limited():
        yield


@contextmanager
def _locked(reason: str) -> Iterator[None]:
    common = Path(run("git", "rev-parse", "--git-common-dir").strip())
    with (common / "gunshot-retrain.lock").open("a+") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            f.seek(0)
            raise RunningError(f"another retraining is running: {f.read().strip()}; let it end, or stop it") from None
        f.truncate(0)
        f.write(f"process {os.getpid()}, since {datetime.now(UTC):{TIME}}, {reason}\n")
        f.flush()
        yield


@contextmanager
def _limited() -> Iterator[None]:
    """Hold the server's global concurrency limit, which its pages show; nothing where no server is named."""
    if not get_current_settings().api.url:
        yield
        return
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(LIMIT, 1)
    with ExitStack() as stack:
        try:
            # A renewal that fails is no reason to lose hours of training; the server's end is told by the run itself.
            stack.enter_context(
                concurrency(LIMIT, timeout_seconds=WAIT_S, lease_duration=LEASE_S, strict=True,
                            raise_on_lease_renewal_failure=False)
            )  # fmt: skip
        except TimeoutError:
            raise RunningError(
                f"another retraining is running: it holds Prefect's concurrency limit {LIMIT!r}; let it end, or stop it"
            ) from None
        yield


def running() -> str | None:
    """Return who retrains, here or on the server; None: nobody does."""
    try:
        with _locked("a look at who retrains"):
            pass
    except RunningError as error:
        return str(error)
    if not get_current_settings().api.url:
        return None
    with get_client(sync_client=True) as client:
        try:
            taken = client.read_global_concurrency_limit_by_name(LIMIT).active_slots
        except ObjectNotFound:  # nobody has retrained yet
            return None
    return (
        f"another retraining is running: it holds Prefect's concurrency limit {LIMIT!r}; let it end" if taken else None
    )


def clean() -> None:
    """Raise RuntimeError that names them where files are changed or untracked: no commit would say what was trained."""
    lines = run("git", "status", "--porcelain").splitlines()
    if lines:
        names = ", ".join(line[3:] for line in lines)
        raise RuntimeError(f"the working tree is not clean: {names}; commit or remove them")


def sweep() -> None:
    """Remove the worktrees, and their branches, of retrainings that failed or were killed; the lock must be held."""
    for folder in FOLDER.glob(f"{BRANCH}-*"):
        shutil.rmtree(folder)
        branch = folder.name.replace("-", "/", 1)
        run("git", "worktree", "prune")
        if run("git", "branch", "--list", branch).strip():
            run("git", "branch", "--quiet", "-D", branch)


def make(now: datetime) -> Path:
    """Return a worktree at HEAD on a branch of its own, that shares this clone's DVC settings and cache."""
    tree = (FOLDER / f"{BRANCH}-{now:{TIME}}").absolute()
    run("git", "worktree", "add", "--quiet", "-b", f"{BRANCH}/{now:{TIME}}", tree)
    local = Path(".dvc/config.local")
    if local.exists():
        shutil.copy(local, tree / local)
    cache = run(DVC, "cache", "dir", errors=False).strip()
    run(DVC, "cache", "dir", "--local", cache, cwd=tree)
    run(DVC, "checkout", "--quiet", "--allow-missing", cwd=tree)
    # What Numba compiled here saves its stages half a minute. It is known by its source's hash, so none is stale.
    for kept in Path("gunshot").rglob("__pycache__/*.nb[ic]"):
        (tree / kept).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(kept, tree / kept)
    return tree


def lend(tree: Path) -> None:
    """Give a worktree the devices' recordings of this clone; what its commands delete there stays here."""
    here = pipeline.field()
    if here.is_dir():
        there = pipeline.field(root=tree)
        shutil.copytree(here, there, copy_function=_link)


def _link(source: str, to: str) -> None:
    try:
        os.link(source, to)  # commands write anew and rename, so that the original never changes
    except OSError:  # on another file system
        shutil.copy2(source, to)


def commit(tree: Path, message: str) -> None:
    """Commit all that changed in a worktree; nothing to do where nothing did."""
    run("git", "add", "--all", cwd=tree)
    if run("git", "status", "--porcelain", cwd=tree):
        run("git", "commit", "--quiet", "--no-verify", "-m", message, cwd=tree)


def remove(tree: Path) -> None:
    """Remove a worktree; its branch stays, and what DVC tracks is in the cache."""
    run("git", "worktree", "remove", "--force", tree)
