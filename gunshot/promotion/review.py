"""A person's decision about a candidate: checked against its gates, then written once."""

import hashlib
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from gunshot.base import tables

PAGE, GATES, FILE = "dossier.html", "gates.json", "review.json"
FINAL = {"new", "parity-model"}  # gates that no reason overrules


def _line(name: str, text: str) -> str:
    if not (text := " ".join(text.split())):
        raise ValueError(f"{name}={text!r} must say something")
    return text


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _gates(folder: Path) -> dict:
    """Return what GATES holds; ValueError where the dossier beside it is not the one that it was written with."""
    judged = tables.read_json(folder / GATES)
    if (sha256 := _sha256(folder / PAGE)) != judged["dossier"]:
        raise ValueError(
            f"{folder / PAGE}: sha256={sha256} must be {judged['dossier']}; make it anew: `gunshot dossier`"
        )
    return judged


def decide(
    folder: Path,
    decision: str,
    *,
    by: str,
    reason: str,
    overruled: dict[str, str] | None = None,
    acknowledged: list[str] | None = None,
    now: datetime | None = None,
) -> dict:
    """Write the decision to FILE in the candidate's folder, and return it.

    Parameters
    ----------
    decision : approve or reject
    overruled : a reason of its own for each gate that failed, by its name
    acknowledged : slices with too few cases to test, by name, or by axis for all of that

    Raises
    ------
    ValueError
        A gate failed and is not overruled, a small slice is not acknowledged, either names what is none, a reason says
        nothing, the dossier was altered, or there is a decision already. Nothing is written then.
    """
    if decision not in ("approve", "reject"):
        raise ValueError(f"decision={decision!r} must be approve or reject")
    if (folder / FILE).exists():
        raise _decided_before(folder / FILE)
    gates = _gates(folder)
    overruled, acknowledged = overruled or {}, acknowledged or []
    decided = {"decision": decision, "by": _line("by", by), "reason": _line("reason", reason)}
    if decision == "approve":
        decided |= {"overruled": overrules(gates, overruled), "acknowledged": acknowledgements(gates, acknowledged)}
    elif overruled or acknowledged:
        raise ValueError("overrule and acknowledge belong to an approval; a rejection needs its reason alone")
    decided |= {
        "at": (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "candidate": gates["candidate"],
        "champion": gates["champion"],
        "dossier": gates["dossier"],
        "gates": _sha256(folder / GATES),
    }
    _write_once(folder / FILE, decided)
    return decided


def overrules(gates: dict, overruled: dict[str, str]) -> dict[str, str]:
    """Return the reasons by gate, one for each that failed and no other; ValueError names the one that is not so."""
    failed = {gate["name"] for gate in gates["gates"] if not gate["passed"]}
    if final := sorted(failed & FINAL):
        raise ValueError(f"gates={final} failed, which no reason overrules; reject the candidate")
    if idle := sorted(set(overruled) - failed):
        raise ValueError(f"overrule={idle} must name gates that failed: {sorted(failed)}")
    if bare := sorted(failed - set(overruled)):
        raise ValueError(f"gates={bare} failed; overrule each with a reason of its own, or reject the candidate")
    return {name: _line(f"overrule of {name}", text) for name, text in overruled.items()}


def acknowledgements(gates: dict, named: list[str]) -> list[str]:
    """Return the slices that were acknowledged, by name or by axis; ValueError names small ones that were not."""
    small = gates.get("small", [])
    axes = {name.partition("=")[0] for name in small}
    if idle := sorted(set(named) - set(small) - axes):
        raise ValueError(f"acknowledge={idle} must name slices that have too few cases, or their axis: {small}")
    if missing := [name for name in small if name not in named and name.partition("=")[0] not in named]:
        raise ValueError(
            f"slices={missing} have too few cases to test; look at them and acknowledge each, or their axis"
        )
    return small


def _write_once(path: Path, content: dict) -> None:
    """Write JSON whole, and only where nobody has: of two reviewers at once one is refused."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", suffix=".part") as part:
        part.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        part.flush()
        os.fsync(part.fileno())
        os.chmod(part.name, 0o644)
        try:
            os.link(part.name, path)
        except FileExistsError:
            raise _decided_before(path) from None


def _decided_before(path: Path) -> ValueError:
    first = tables.read_json(path)
    earlier = f"{first['by']} decided at {first['at']}: {first['decision']}"
    return ValueError(f"{path}: {earlier}; another decision needs a dossier of its own")


def decided(folder: Path) -> dict | None:
    """Return the decision and `call`; None where nobody has decided.

    `call` holds the keywords of `registry.promote` or `registry.reject`: candidate, dossier, review, by, reason, and
    overrule and acknowledge where it was approved.

    Raises
    ------
    ValueError
        Dossier or gates are others than those that were decided from.
    """
    if not (folder / FILE).exists():
        return None
    written, gates = tables.read_json(folder / FILE), _gates(folder)
    if (written["gates"], written["dossier"]) != (_sha256(folder / GATES), gates["dossier"]):
        raise ValueError(f"{folder / GATES}: is not what {FILE} was decided from")
    call = {"candidate": written["candidate"], "dossier": folder / PAGE, "review": gates}
    call |= {"by": written["by"], "reason": written["reason"]}
    if written["decision"] == "approve":
        call |= {"overrule": written["overruled"], "acknowledge": written["acknowledged"]}
    return {"decision": written["decision"], "call": call}
