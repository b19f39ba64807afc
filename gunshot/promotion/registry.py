"""Versions and stages of the int8 model: promote, reject, roll back, and what was in production when.

A decision is checked whole, then written to the record; its commit and tags follow, and `_settle` makes up what a crash
left out, so that the same command completes it. Before the line is written nothing has changed but a dossier's copy.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot import models, pipeline
from gunshot.promotion import record, signing
from gunshot.promotion.repository import Repository, Tag

ARTIFACT = "int8"
STAGES = ("prod", "staging")
ARCHIVED = "archived"
DOSSIERS = Path("models/dossiers")
LOCK = Path("dvc.lock")


def promote(
    candidate: str,
    *,
    dossier: Path,
    review: dict,
    by: str,
    reason: str,
    overrule: dict[str, str] | None = None,
    stage: str = "prod",
    root: Path = Path(),
) -> dict:
    """Put the int8 model of a commit into a stage and return the record's entry.

    Parameters
    ----------
    candidate : a commit, branch or tag whose dvc.lock names the model
    dossier : the page that the decision was made from; a copy is kept under its SHA-256
    review : what the dossier compared: ``candidate``, a commit; ``champion``, a version or None; ``gates``, a list of
        ``name``, ``passed`` and ``figure``
    overrule : a reason of its own for each gate that failed, by its name
    stage : prod or staging

    Raises
    ------
    ValueError
        A gate failed and is not overruled; the champion is another one than was compared; the same model is or was
        there; another decision is being recorded; the record has a fault; the model's bytes cannot be had or are not
        those of dvc.lock; there is no key. Nothing is recorded then.
    """
    if stage not in STAGES:
        raise ValueError(f"stage={stage!r} must be {' or '.join(STAGES)}")
    overruled = {name: _line(f"overrule of {name}", text) for name, text in (overrule or {}).items()}

    def event(repo: Repository, entries: list[dict]) -> dict:
        found = _decision(repo, candidate, dossier, review, by, reason) | {"event": "promoted", "stage": stage}
        failed = {gate["name"] for gate in found["gates"] if not gate["passed"]}
        if bare := sorted(failed - set(overruled)):
            raise ValueError(f"gates={bare} failed; overrule each with a reason of its own, or reject the candidate")
        if idle := sorted(set(overruled) - failed):
            raise ValueError(f"overrule={idle} must name gates that failed: {sorted(failed)}")
        return found | {"overruled": overruled}

    def check(repo: Repository, entries: list[dict], found: dict) -> dict:
        compared, now = review.get("champion"), (champion(entries) or {}).get("version")
        if compared != now:
            raise ValueError(f"champion={now} is in production, the gates compared with {compared}; evaluate anew")
        same = [e for e in entries if e["event"] == "promoted" and e["files"] == found["files"]]
        current = champion(entries, stage)
        if current and current["files"] == found["files"]:
            raise ValueError(f"candidate={candidate} is {current['version']}, in {stage} already; nothing to promote")
        if any(e["stage"] == stage for e in same):
            raise ValueError(f"candidate={candidate} is {same[0]['version']}; `gunshot rollback --to` gives it back")
        return found | {"version": same[0]["version"] if same else _next_version(entries)}

    return _decide(root, event, check)


def reject(candidate: str, *, dossier: Path, review: dict, by: str, reason: str, root: Path = Path()) -> dict:
    """Archive a candidate, with the gates and the dossier that spoke against it; arguments as of `promote`."""

    def event(repo: Repository, entries: list[dict]) -> dict:
        found = _decision(repo, candidate, dossier, review, by, reason)
        return found | {"event": "rejected", "stage": ARCHIVED, "overruled": {}, "version": None}

    return _decide(root, event, lambda repo, entries, found: found)


def rollback(*, to: str | None = None, by: str, reason: str, root: Path = Path()) -> dict:
    """Put an earlier version into production and return the record's entry; its bytes were had and are the same.

    to : a version that was in production; None: the one that the present one replaced when it was promoted

    ValueError as for `promote`, or where there is no such version.
    """

    def event(repo: Repository, entries: list[dict]) -> dict:
        # An unfinished rollback is the last entry: who repeats the command means the one before it.
        target = to or _replaced(entries)
        promoted = promotions(entries).get(target)
        if promoted is None:
            known = ", ".join(promotions(entries)) or "none"
            raise ValueError(f"to={target} must be a version that was in production: {known}")
        kept = {name: promoted[name] for name in ("artifact", "version", "commit", "data", "files", "model", "dossier")}
        return kept | {
            "event": "rolled back", "stage": "prod", "gates": [], "overruled": {},
            "by": _line("by", by), "reason": _line("reason", reason),
        }  # fmt: skip

    def check(repo: Repository, entries: list[dict], found: dict) -> dict:
        if champion(entries)["version"] == found["version"]:
            raise ValueError(f"to={found['version']} is in production already")
        content(found, root=repo.root)
        return found

    return _decide(root, event, check)


def content(entry: dict, *, root: Path = Path()) -> bytes:
    """Return the model's bytes of an entry, from DVC; ValueError where they cannot be had or are not the same."""
    found = Repository(root).artifact(entry["commit"], Path(entry["model"]))
    if (sha256 := hashlib.sha256(found).hexdigest()) != (stated := entry["files"][entry["model"]]):
        raise ValueError(f"{entry['model']} of {entry['version']}: sha256={sha256} must be {stated}, as recorded")
    return found


def champion(entries: list[dict], stage: str = "prod") -> dict | None:
    """Return the entry that put into a stage what is there now."""
    return next((e for e in reversed(entries) if e["stage"] == stage), None)


def promotions(entries: list[dict]) -> dict[str, dict]:
    """Return the promotions to production by version, oldest first."""
    return {e["version"]: e for e in entries if e["event"] == "promoted" and e["stage"] == "prod"}


def production(entries: list[dict]) -> list[dict]:
    """Return what is and was in production: version, since, until (None: it is), and the entry that put it there."""
    entries = [e for e in entries if e["stage"] == "prod"]
    ends = [*(e["at"] for e in entries[1:]), None]
    return [
        {"version": e["version"], "since": e["at"], "until": end, "entry": e}
        for e, end in zip(entries, ends, strict=False)
    ]


def _replaced(entries: list[dict]) -> str | None:
    now = champion(entries)
    return promotions(entries)[now["version"]]["replaced"] if now else None


def _next_version(entries: list[dict]) -> str:
    from gto.versions import SemVer

    versions = [SemVer(e["version"]) for e in entries if e["version"]]
    return max(versions).bump(bump_minor=True).version if versions else "v1.0.0"


def _line(name: str, text: str) -> str:
    if not (text := " ".join(text.split())):
        raise ValueError(f"{name}={text!r} must say something")
    return text


def _decision(repo: Repository, candidate: str, dossier: Path, review: dict, by: str, reason: str) -> dict:
    """Return what promote and reject record of a candidate; a copy of the dossier is kept."""
    commit = repo.commit(candidate)
    if (reviewed := repo.commit(str(review.get("candidate")))) != commit:
        raise ValueError(f"candidate={commit[:12]} must be the one whose gates these are, {reviewed[:12]}")
    page = Path(dossier).read_bytes()
    path = pipeline.models(root=repo.root)[ARTIFACT].relative_to(repo.root)
    files = {path.as_posix(): repo.artifact(commit, path)}
    for name in ("report.json", "operating.json"):  # what decides how it is used; these are in Git itself
        files[path.with_name(name).as_posix()] = repo.show(commit, path.with_name(name))
    sha256 = hashlib.sha256(page).hexdigest()
    record.write(repo.root / DOSSIERS / f"{sha256}.html", page)
    return {
        "artifact": ARTIFACT,
        "by": _line("by", by),
        "reason": _line("reason", reason),
        "commit": commit,
        "data": hashlib.sha256(repo.show(commit, LOCK)).hexdigest(),
        "model": path.as_posix(),
        "files": {name: hashlib.sha256(found).hexdigest() for name, found in files.items()},
        "dossier": sha256,
        "gates": _gates(review.get("gates")),
    }


def _gates(gates: list[dict]) -> list[dict]:
    rule = "must be a list of name, passed (true or false) and figure, each name once"
    if not gates or not isinstance(gates, list) or not all(isinstance(gate, dict) for gate in gates):
        raise ValueError(f"gates={gates!r} {rule}")
    found = [{key: gate.get(key) for key in ("name", "passed", "figure")} for gate in gates]
    names = [gate["name"] for gate in found]
    if not all(isinstance(gate["passed"], bool) and isinstance(gate["name"], str) for gate in found) or len(
        set(names)
    ) < len(names):
        raise ValueError(f"gates={found!r} {rule}")
    return found


def _decide(root: Path, event: Callable, check: Callable) -> dict:
    """Record what `event` makes, after `check`; where it is the last entry and was left unfinished, finish that."""
    repo = Repository(root)
    with repo.lock():
        repo.ready()
        key = _key(root)
        entries = record.read(root)
        if faults := [*record.faults(root), *tag_faults(entries, repo.tags(ARTIFACT), unfinished=True)]:
            raise ValueError("the record has faults, see `gunshot models verify`: " + "; ".join(faults))
        if entries and not settled(repo, entries[-1]):
            before, last = entries[:-1], entries[-1]
            asked = event(repo, before)
            _settle(repo, last)
            if all(last[name] == value for name, value in asked.items() if name != "version" or value):
                return last
        found = check(repo, entries, event(repo, entries))
        if found["stage"] == "prod":
            found["replaced"] = (champion(entries) or {}).get("version")
        entry = record.append(found, key, root=root)
        _settle(repo, entry)
        return entry


def _key(root: Path) -> Ed25519PrivateKey:
    key = signing.private()
    if (mark := signing.fingerprint(key.public_key())) not in signing.trusted(root / record.KEYS):
        raise ValueError(f"{signing.path()}: fingerprint={mark} is none of those in {record.KEYS}; commit its public key")
    return key


def tags_of(entry: dict) -> dict[str, str]:
    """Return the tags of an entry, by GTO's names, with their messages.

    The number is the entry's, so that tags and lines answer each other one to one.
    """
    from gto.constants import Action
    from gto.tag import name_tag

    stage = name_tag(Action.ASSIGN, ARTIFACT, stage=entry["stage"], simple=True)
    names = [f"{stage}#{entry['number']}"]
    if entry["event"] == "promoted":
        names.insert(0, name_tag(Action.REGISTER, ARTIFACT, version=entry["version"], simple=True))
    what = entry["version"] or entry["commit"][:12]
    overruled = "".join(f"overruled {name}: {text}\n" for name, text in entry["overruled"].items())
    message = (
        f"{ARTIFACT} {what} {entry['event']}, {entry['stage']}\n\n"
        f"by: {entry['by']}\nat: {entry['at']}\nreason: {entry['reason']}\n{overruled}"
        f"artifact sha256: {entry['files'][entry['model']]}\ndossier sha256: {entry['dossier']}\n"
        f"data, sha256 of dvc.lock: {entry['data']}\ncode: {entry['commit']}\n"
        f"record {entry['number']}: {record.digest(entry)}"
    )
    return dict.fromkeys(names, message)


def tag_faults(entries: list[dict], tags: dict[str, Tag], *, unfinished: bool = False) -> Iterator[str]:
    """Yield where tags and record disagree; `unfinished`: the last entry's may be missing."""
    known = set()
    for entry in entries:
        for name, message in tags_of(entry).items():
            first = name in known  # staging, then prod: the version's tag is the first's
            known.add(name)
            if first:
                continue
            if name not in tags:
                if not (unfinished and entry is entries[-1]):
                    yield f"tag {name} is missing, record line {entry['number']}; fetch it, or repeat an unfinished command"
            elif tags[name].commit != entry["commit"]:
                yield f"tag {name} is at {tags[name].commit[:12] or 'no tag object'}, recorded is {entry['commit'][:12]}"
            elif tags[name].message != message:
                yield f"tag {name}: its message is not what record line {entry['number']} makes it"
    for name in sorted(set(tags) - known):
        yield f"tag {name} is not in the record: lines are missing, or someone tagged by hand; is this branch behind?"


def settled(repo: Repository, entry: dict) -> bool:
    """Return whether an entry is committed and has its tags."""
    names = [record.PATH.as_posix(), (DOSSIERS / f"{entry['dossier']}.html").as_posix()]
    return not repo.git("status", "--porcelain", "--ignored", "--", *names) and all(
        name in repo.tags(ARTIFACT) for name in tags_of(entry)
    )


def _settle(repo: Repository, entry: dict) -> None:
    """Commit an entry and make its tags, each only where that is not done."""
    what = entry["version"] or entry["commit"][:12]
    message = f"{ARTIFACT} {what} {entry['event']}, {entry['stage']}: {entry['reason']}"
    repo.save([record.PATH, DOSSIERS / f"{entry['dossier']}.html"], message)
    tags = repo.tags(ARTIFACT)
    # GTO orders by date: one second after the latest, whatever the clock says; the message holds the clock's time.
    seconds = max([int(time.time()), *(tag.seconds + 1 for tag in tags.values())])
    for name, text in tags_of(entry).items():
        if name not in tags:
            repo.tag(name, entry["commit"], text, seconds=seconds)
