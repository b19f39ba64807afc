"""The record: an event a line of canonical JSON, signed, chained to the line before by its SHA-256.

Order is the chain's, never the clock's: `at` is what the operator's clock said. A clock that is behind the last line's
is recorded so (`clock_behind`), not refused: one wrong date in the future would otherwise forbid a rollback for good.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gunshot.base.files import atomic
from gunshot.signing import keys as signing

PATH = Path("models/record.jsonl")
KEYS = Path("models/keys")


def canonical(content: dict) -> bytes:
    """Return the one way to write an entry: keys sorted, no spaces, UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest(entry: dict) -> str:
    """Return the SHA-256 of an entry's line, as the next one repeats it."""
    return hashlib.sha256(canonical(entry)).hexdigest()


def read(root: Path = Path()) -> list[dict]:
    """Return the entries, oldest first; none where there is no record. ValueError where a line is no JSON object."""
    try:
        lines = (root / PATH).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [_entry(line, number) for number, line in enumerate(lines, 1)]


def _entry(line: bytes, number: int) -> dict:
    try:
        entry = json.loads(line)
    except ValueError as e:
        raise ValueError(
            f"{PATH} line {number}: no JSON: {e}; `git checkout {PATH}` brings the last good one"
        ) from None
    if not isinstance(entry, dict):
        raise ValueError(f"{PATH} line {number}: must be a JSON object")
    return entry


def faults(root: Path = Path()) -> Iterator[str]:
    """Yield what is wrong with the file itself: a line that is altered, out of its place, or signed by a stranger."""
    keys, previous = signing.trusted(root / KEYS), None
    content = (root / PATH).read_bytes() if (root / PATH).exists() else b""
    if content and not content.endswith(b"\n"):
        yield f"{PATH}: the last line does not end; it is cut off"
    for number, line in enumerate(content.splitlines(), 1):
        where = f"{PATH} line {number}"
        try:
            entry = _entry(line, number)
        except ValueError as e:
            yield str(e)
            previous = hashlib.sha256(line).hexdigest()
            continue
        if canonical(entry) != line:
            yield f"{where}: is not written canonically"
        if entry.get("number") != number:
            yield f"{where}: says number={entry.get('number')}; lines are missing, added or out of order"
        if entry.get("previous") != previous:
            yield f"{where}: does not follow the line before it"
        yield from (f"{where}: {fault}" for fault in signature_faults(entry, keys))
        previous = hashlib.sha256(line).hexdigest()


def signature_faults(entry: dict, keys: dict[str, Ed25519PublicKey]) -> Iterator[str]:
    """Yield what is wrong with the signature of what `sign` returned: a stranger's key, or other content."""
    content = {name: value for name, value in entry.items() if name != "signature"}
    key = keys.get(mark) if isinstance(mark := entry.get("key"), str) else None  # a list cannot be looked up
    try:
        signature = bytes.fromhex(entry.get("signature", ""))
    except (TypeError, ValueError):
        signature = b""
    if key is None:
        yield f"key={mark!r} is none of those in {KEYS}"
    elif not signing.signed_by(key, signature, canonical(content)):
        yield "its signature is not of what it says"


def sign(content: dict, key: Ed25519PrivateKey) -> dict:
    """Return content with its `key`, by fingerprint, and that key's `signature` of all the rest, in hexadecimal."""
    entry = content | {"key": signing.fingerprint(key.public_key())}
    return entry | {"signature": key.sign(canonical(entry)).hex()}


def operator_key(root: Path = Path()) -> Ed25519PrivateKey:
    """Return the operator's key; ValueError as for `keys.private`, or where its public one is none of those in KEYS."""
    key = signing.private()
    if (mark := signing.fingerprint(key.public_key())) not in signing.trusted(root / KEYS):
        raise ValueError(f"{signing.path()}: fingerprint={mark} is none of those in {KEYS}; commit its public key")
    return key


def append(event: dict, key: Ed25519PrivateKey, *, root: Path = Path(), now: datetime | None = None) -> dict:
    """Sign an event, write it as the record's last line, and return that entry. Whole or not at all.

    The caller holds the lock and has found no fault. OSError where it cannot be written, for example on a full disk;
    the record is then what it was.
    """
    entries = read(root)
    at = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entry = event | {
        "number": len(entries) + 1,
        "previous": digest(entries[-1]) if entries else None,
        "at": at,
        "clock_behind": bool(entries) and at < max(e["at"] for e in entries),
    }
    entry = sign(entry, key)
    write(root / PATH, b"".join(canonical(e) + b"\n" for e in [*entries, entry]))
    return entry


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, and on the disk before this returns."""
    with atomic(path) as part, part.open("wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
