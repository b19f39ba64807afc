"""What was altered: the record, its tags, the dossiers, the models' bytes, the exported folders."""

from collections.abc import Iterator
from pathlib import Path

from gunshot.promotion import bundle, registry
from gunshot.promotion.repository import Repository
from gunshot.signing import record


def verify(root: Path = Path()) -> list[str]:
    """Return all faults, a line each. Without any, every byte is the one that was decided on.

    It trusts the keys in models/keys. Whoever holds one of them and can rewrite tags and branches on every clone can
    rewrite the past: keep the last line's SHA-256, or a clone, where they cannot reach it.
    """
    repo = Repository(root)
    faults = list(record.faults(root))
    try:
        entries = record.read(root)
        faults += registry.tag_faults(entries, repo.tags(registry.ARTIFACT))
        faults += [*_committed(repo), *_dossiers(entries, root), *_models(entries, root), *_stage(entries, root)]
        faults += bundle.faults(entries, root)
    except (ValueError, KeyError, TypeError) as e:  # a line that says nothing that can be followed
        faults.append(f"{record.PATH}: cannot be followed further: {e!r}" if not isinstance(e, ValueError) else str(e))
    return list(dict.fromkeys(faults))


def _committed(repo: Repository) -> Iterator[str]:
    """Yield where the record did not only grow: each version of it in Git must be how the present one begins."""
    now = (repo.root / record.PATH).read_bytes() if (repo.root / record.PATH).exists() else b""
    path = record.PATH.as_posix()
    commits = repo.git("log", "--format=%H", "--diff-filter=AM", "--", path).decode().split()
    if commits and repo.show(commits[0], record.PATH) != now:
        yield f"{path}: is not what is committed; see `git diff {path}`, or repeat an unfinished command"
    for commit in commits:
        if not now.startswith(repo.show(commit, record.PATH)):
            yield f"{path}: commit {commit[:12]} has lines that are altered or gone"


def _dossiers(entries: list[dict], root: Path) -> Iterator[str]:
    for entry in entries:
        path = registry.dossier_of(entry, root)
        if not path.is_file():
            yield f"{path}: the dossier of line {entry['number']} is gone; `git checkout` brings it back"
        elif registry.sha256(path.read_bytes()) != entry["dossier"]:
            yield f"{path}: the dossier of line {entry['number']} was altered"


def _models(entries: list[dict], root: Path) -> Iterator[str]:
    repo = Repository(root)
    for entry in {e["commit"]: e for e in entries}.values():
        try:
            registry.content(entry, root=root)
            for name, sha256 in (entry["files"] | {registry.LOCK.as_posix(): entry["data"]}).items():
                if name != entry["model"] and registry.sha256(repo.show(entry["commit"], Path(name))) != sha256:
                    yield f"{name} of {entry['commit'][:12]} is not the recorded one"
        except ValueError as e:
            yield str(e)


def _stage(entries: list[dict], root: Path) -> Iterator[str]:
    """Yield where GTO and DVC take another version for the champion than the record does."""
    import gto.api
    from gto.exceptions import GTOException

    for registry_stage in registry.REGISTRY_STAGES:
        if entry := registry.champion(entries, registry_stage):
            try:
                there = gto.api.find_versions_in_stage(str(root), registry.ARTIFACT, registry_stage) or []
            except GTOException as e:
                yield f"{registry_stage}: GTO cannot follow the tags: {e}"
                continue
            if (versions := [v.version for v in there]) != [entry["version"]]:
                yield f"{registry_stage}: GTO takes {versions} to be there, recorded is {entry['version']}"
