"""Versions and registry stages of the int8 model: promote, reject, roll back, and what was in production when.

A decision is checked whole, then written to the record; its commit and tags follow, and `_settle` makes up what a crash
left out, so that the same command completes it. Before the line is written nothing has changed but a dossier's copy.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from gunshot.base import pipeline
from gunshot.promotion.repository import Repository, Tag
from gunshot.promotion.review import acknowledgements, overrules
from gunshot.signing import record

ARTIFACT = "int8"
REGISTRY_STAGES = ("prod", "staging")
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
    acknowledge: list[str] | None = None,
    registry_stage: str = "prod",
    root: Path = Path(),
) -> dict:
    """Put the int8 model of a commit into a registry stage and return the record's entry.

    Parameters
    ----------
    candidate : a commit, branch or tag whose dvc.lock names the model
    dossier : the page that the decision was made from; a copy is kept under its SHA-256
    review : what the dossier compared: ``candidate``, a commit; ``champion``, a version or None; ``gates``, a list of
        ``name``, ``passed`` and ``figure``; ``small``, the names of slices with too few cases to test, where there are
    overrule : a reason of its own for each gate that failed, by its name
    acknowledge : each of the small slices, by name or by axis
    registry_stage : prod or staging

    Raises
    ------
    ValueError
        A gate failed and is not overruled, or cannot be; a small slice is not acknowledged; the champion is another one
        than was compared; the same model is or was there; another decision is being recorded; the record has a fault;
        the model's bytes cannot be had or are not those of dvc.lock; there is no key. Nothing is recorded then.
    """
    if registry_stage not in REGISTRY_STAGES:
        raise ValueError(f"stage={registry_stage!r} must be {' or '.join(REGISTRY_STAGES)}")
    page = Path(dossier).read_bytes()
    asked = _asked("promoted", registry_stage, by, reason, dossier=page, commit=Repository(root).commit(candidate))

    def event(repo: Repository, entries: list[dict]) -> dict:
        evidence = _candidate(repo, asked["commit"], review)
        overruled = overrules(evidence, overrule or {})
        compared, now = review.get("champion"), (champion(entries) or {}).get("version")
        if compared != now:
            raise ValueError(f"champion={now} is in production, the gates compared with {compared}; evaluate anew")
        seen = acknowledgements(review, acknowledge or [])
        return evidence | {"overruled": overruled, "acknowledged": seen, "version": _version(entries, asked | evidence)}

    return _decide(root, asked, event, page=page)


def reject(candidate: str, *, dossier: Path, review: dict, by: str, reason: str, root: Path = Path()) -> dict:
    """Archive a candidate, with the gates and the dossier that spoke against it; arguments as of `promote`.

    ValueError as there, or where the same is on the record.
    """
    page = Path(dossier).read_bytes()
    asked = _asked("rejected", ARCHIVED, by, reason, dossier=page, commit=Repository(root).commit(candidate))

    def event(repo: Repository, entries: list[dict]) -> dict:
        if same := [e for e in entries if asked.items() <= e.items()]:
            raise ValueError(f"candidate={asked['commit'][:12]} is rejected by line {same[-1]['number']} of the record")
        return _candidate(repo, asked["commit"], review) | {"overruled": {}, "acknowledged": [], "version": None}

    return _decide(root, asked, event, page=page)


def rollback(*, to: str | None = None, by: str, reason: str, root: Path = Path()) -> dict:
    """Put an earlier version into production and return the record's entry; its bytes are checked before.

    to : a version that was in production; None: the one that the present one replaced when it was promoted

    ValueError as for `promote`, or where there is no such version.
    """
    asked = _asked("rolled back", "prod", by, reason) | ({"version": to} if to else {})

    def event(repo: Repository, entries: list[dict]) -> dict:
        known, now = promotions(entries), champion(entries)
        target = to or (now and (known[now["version"]]["replaced"] or {}).get("version"))
        if now and target is None:
            raise ValueError(f"to=None: nothing was in production before {now['version']}")
        if target not in known:
            raise ValueError(f"to={target} must be a version that was in production: {', '.join(known) or 'none'}")
        if target == now["version"]:
            raise ValueError(f"to={target} is in production already")
        kept = ("version", "commit", "data", "model", "files", "dossier")
        content(known[target], root=root)
        return {name: known[target][name] for name in kept} | {"gates": [], "overruled": {}, "acknowledged": []}

    return _decide(root, asked, event)


def content(entry: dict, *, root: Path = Path()) -> bytes:
    """Return the model's bytes of an entry, from DVC; ValueError where they cannot be had or are not the same."""
    artifact = Repository(root).artifact(entry["commit"], Path(entry["model"]))
    if (is_ := sha256(artifact)) != (stated := entry["files"][entry["model"]]):
        raise ValueError(f"{entry['model']} of {entry['version']}: sha256={is_} must be {stated}, as recorded")
    return artifact


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def champion(entries: list[dict], registry_stage: str = "prod") -> dict | None:
    """Return the entry of the version that is in a registry stage now."""
    return next((e for e in reversed(entries) if e["stage"] == registry_stage), None)


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


def _asked(event: str, registry_stage: str, by: str, reason: str, *, dossier: bytes | None = None, **more: str) -> dict:
    """Return what a command asks for; by this an unfinished command is recognised when it is run again."""
    if dossier is not None:
        more["dossier"] = sha256(dossier)
    return {"event": event, "stage": registry_stage, "by": _line("by", by), "reason": _line("reason", reason)} | more


def _line(name: str, text: str) -> str:
    if not (line := " ".join(text.split())):
        raise ValueError(f"{name}={text!r} must say something")
    return line


def _version(entries: list[dict], candidate: dict) -> str:
    """Return a candidate's version: that of the same model in another registry stage, else the next one."""
    from gto.versions import SemVer

    same = [e for e in entries if e["event"] == "promoted" and e["files"] == candidate["files"]]
    for entry in same:
        if entry["stage"] == candidate["stage"]:
            where = champion(entries, candidate["stage"])["version"] == entry["version"]
            rest = "is there; nothing to promote" if where else "was; `gunshot rollback --to` gives it back"
            raise ValueError(f"candidate={candidate['commit'][:12]} is {entry['version']}, which {rest}")
        if entry["commit"] != candidate["commit"]:
            raise ValueError(
                f"candidate={candidate['commit'][:12]} is {entry['version']} of {entry['commit'][:12]}; promote that"
            )
    versions = [SemVer(e["version"]) for e in entries if e["version"]]
    return same[0]["version"] if same else max(versions).bump(bump_minor=True).version if versions else "v1.0.0"


def _candidate(repo: Repository, commit: str, review: dict) -> dict:
    """Return what is recorded of a candidate: its files, its data, its gates."""
    if (reviewed := repo.commit(str(review.get("candidate")))) != commit:
        raise ValueError(f"candidate={commit[:12]} must be the one whose gates these are, {reviewed[:12]}")
    gates = _gates(review.get("gates"))
    path = pipeline.models(root=repo.root)[ARTIFACT].relative_to(repo.root)
    files = {path.as_posix(): repo.artifact(commit, path)}
    for name in ("report.json", "operating.json"):  # what decides how it is used; these are in Git itself
        files[path.with_name(name).as_posix()] = repo.show(commit, path.with_name(name))
    return {
        "data": sha256(repo.show(commit, LOCK)),
        "model": path.as_posix(),
        "files": {name: sha256(content) for name, content in files.items()},
        "gates": gates,
    }


def _gates(gates: list[dict]) -> list[dict]:
    rule = "must be a list of name, passed (true or false) and figure, each name once"
    if not gates or not isinstance(gates, list) or not all(isinstance(gate, dict) for gate in gates):
        raise ValueError(f"gates={gates!r} {rule}")
    kept = [{key: gate.get(key) for key in ("name", "passed", "figure")} for gate in gates]
    names = [gate["name"] for gate in kept]
    if not all(isinstance(gate["passed"], bool) and isinstance(gate["name"], str) for gate in kept) or len(
        set(names)
    ) < len(names):
        raise ValueError(f"gates={kept!r} {rule}")
    return kept


def _decide(root: Path, asked: dict, event: Callable, *, page: bytes | None = None) -> dict:
    """Record what is asked, with what `event` adds; where the last entry is this and unfinished, finish it."""
    repo = Repository(root)
    with repo.lock():
        repo.ready()
        key = record.operator_key(root)
        entries = record.read(root)
        if faults := [*record.faults(root), *tag_faults(entries, repo.tags(ARTIFACT), unfinished=True)]:
            raise ValueError("the record has faults, see `gunshot models verify`: " + "; ".join(faults))
        if entries and not settled(repo, entries[-1]):
            _settle(repo, entries[-1])
            if all(entries[-1][name] == value for name, value in asked.items()):
                return entries[-1]
        now = champion(entries, asked["stage"]) if asked["stage"] in REGISTRY_STAGES else None
        replaced = now and {name: now[name] for name in ("version", "commit")}
        decision = {"artifact": ARTIFACT, "replaced": replaced} | asked | event(repo, entries)
        if page is not None:
            record.write(dossier_of(decision, root), page)
        entry = record.append(decision, key, root=root)
        _settle(repo, entry)
        return entry


def tags_of(entry: dict) -> dict[str, tuple[str, str]]:
    """Return the tags of an entry, by GTO's names and in their order: commit and message of each.

    The number is the entry's, so that each tag has its line. A version that leaves a registry stage is unassigned
    first: of all versions there GTO names the highest, which after a rollback is the wrong one.
    """
    from gto.constants import Action
    from gto.tag import name_tag

    def name(action: Action) -> str:
        return name_tag(action, ARTIFACT, version=entry["version"], stage=entry["stage"], simple=True)

    commits = {}
    if entry["event"] == "promoted":
        commits[name(Action.REGISTER)] = entry["commit"]
    if entry["replaced"]:
        commits[f"{name(Action.UNASSIGN)}#{entry['number']}"] = entry["replaced"]["commit"]
    commits[f"{name(Action.ASSIGN)}#{entry['number']}"] = entry["commit"]
    what = entry["version"] or entry["commit"][:12]
    exceptions = "".join(f"overruled {name}: {text}\n" for name, text in entry["overruled"].items())
    exceptions += "".join(f"acknowledged: {name}\n" for name in entry["acknowledged"])
    message = (
        f"{ARTIFACT} {what} {entry['event']}, {entry['stage']}\n\n"
        f"by: {entry['by']}\nat: {entry['at']}\nreason: {entry['reason']}\n{exceptions}"
        f"artifact sha256: {entry['files'][entry['model']]}\ndossier sha256: {entry['dossier']}\n"
        f"data, sha256 of dvc.lock: {entry['data']}\ncode: {entry['commit']}\n"
        f"record {entry['number']}: {record.digest(entry)}"
    )
    return {tag: (commit, message) for tag, commit in commits.items()}


def tag_faults(entries: list[dict], tags: dict[str, Tag], *, unfinished: bool = False) -> Iterator[str]:
    """Yield where tags and record disagree; `unfinished`: the last entry's may be missing."""
    known = set()
    for entry in entries:
        for name, (commit, message) in tags_of(entry).items():
            first = name in known  # staging, then prod: the version's tag is the first's
            known.add(name)
            if first:
                continue
            if name not in tags:
                if not (unfinished and entry is entries[-1]):
                    yield f"tag {name} of line {entry['number']} is missing; fetch it, or repeat an unfinished command"
            elif tags[name].commit != commit:
                yield f"tag {name} is at {tags[name].commit or 'no tag object'}, recorded is {commit}"
            elif tags[name].message != message:
                yield f"tag {name}: its message is not what record line {entry['number']} makes it"
    for name in sorted(set(tags) - known):
        yield f"tag {name} is not in the record: lines are missing, or someone tagged by hand; is this branch behind?"


def dossier_of(entry: dict, root: Path = Path()) -> Path:
    """Return where the copy of an entry's dossier is kept."""
    return root / DOSSIERS / f"{entry['dossier']}.html"


def settled(repo: Repository, entry: dict) -> bool:
    """Return whether an entry is committed and has its tags."""
    names = [record.PATH.as_posix(), dossier_of(entry).as_posix()]
    return not repo.git("status", "--porcelain", "--ignored", "--", *names) and all(
        name in repo.tags(ARTIFACT) for name in tags_of(entry)
    )


def _settle(repo: Repository, entry: dict) -> None:
    """Commit an entry and make its tags, each only where that is not done."""
    what = entry["version"] or entry["commit"][:12]
    message = f"{ARTIFACT} {what} {entry['event']}, {entry['stage']}: {entry['reason']}"
    repo.save([record.PATH, dossier_of(entry)], message)
    tags = repo.tags(ARTIFACT)
    # GTO orders by date: each a second after the latest, whatever the clock says; the message holds the clock's time.
    seconds = max([int(time.time()), *(tag.seconds + 1 for tag in tags.values())])
    for i, (name, (commit, text)) in enumerate(tags_of(entry).items()):
        if name not in tags:
            repo.tag(name, commit, text, seconds=seconds + i)
