"""A site's profile: the threshold that a device uses there, what it rests on, and an operator's signature."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.base.files import shown
from gunshot.detect import listener
from gunshot.models.model import Model
from gunshot.signing import keys, record
from gunshot.site import trunk, verifier

KIND = "gunshot site profile"
MOST_BYTES = 2**20
REMEDY = "make one with `gunshot calibrate`"
Sha256 = Annotated[str, pydantic.Field(pattern="^[0-9a-f]{64}$")]
Count = Annotated[int, pydantic.Field(ge=0)]
Rate = Annotated[float, pydantic.Field(ge=0)]


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Threshold(_Part):
    """A mean logit, and its calibrated score."""

    logit: float
    score: Annotated[float, pydantic.Field(gt=0, lt=1)]


class HeldOut(_Part):
    """What hours give at the threshold that the others chose: incidents, hours, and incidents an hour."""

    false_incidents: Count
    hours: Rate
    false_incidents_per_hour: Rate
    false_incidents_per_hour_upper: Rate  # exact, one-sided, 95 %


class Options(_Part):
    """What a person asked for."""

    no_shots: bool
    leave_out: bool
    lower: bool


class Hours(_Part):
    """Which recordings it was chosen on, and which parts of them were left out."""

    recordings: Count
    sha256: Sha256  # of the lines "SHA-256 NAME" of all of them, in order
    hours: Rate
    silence_s: Rate  # left out: nothing sounded
    confirmed_s: Rate  # left out: persons confirmed shots
    suspects_s: Rate  # left out by leave_out: what is left is chosen by its counts, and proves nothing
    options: Options
    decisions_sha256: Sha256 | None  # of the file of decisions


class SiteVerifier(_Part):
    """What tells the place's own sounds from shots, and what it was chosen by."""

    content: Annotated[str, pydantic.Field(pattern="^([0-9a-f]{2}){1,200}$")]  # what `verifier.packed` gives
    windows: Count  # of the place's own that taught it
    false_incidents_without: Count  # at the operating point, in all hours
    false_incidents: Count  # there, each stretch by what the others taught, at a strength that all hours chose
    shots: Count  # clear ones of the validation streams in the site's own sound
    recall_without: Rate  # of them, at the operating point
    recall: Rate


class Profile(_Part):
    """What a profile's file says."""

    kind: Literal["gunshot site profile"]
    version: Literal[1]
    site: str
    at: str  # when it was signed, by the operator's clock, UTC
    model_sha256: Sha256
    settings: dict[str, int]  # of the detector at the threshold: what `listener.settings` gives
    threshold: Threshold
    operating_point: Threshold
    limit: Rate  # of false incidents an hour
    proof: Literal["proven", "unproven"]  # as `calibration.Calibration.proof` has it
    held_out: HeldOut
    chosen_on: Hours
    validation_recall: dict | None  # what `cost.on_streams` gives; None: it stays, or nothing is known
    rehearsal: dict | None  # what `rehearsal.figures` gives
    site_verifier: SiteVerifier | None = None  # None: the threshold alone decides, as in profiles before there were any
    key: Sha256
    signature: Annotated[str, pydantic.Field(pattern="^[0-9a-f]{128}$")]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def settings_of(model: Model, p: listener.Sections, logit: float) -> dict[str, int]:
    """Return the integers in which a detector decides at a mean logit: with others it is another threshold."""
    return {name: int(value) for name, value in vars(listener.settings(model, p, logit=logit)).items()}


def threshold(model: Model, logit: float) -> dict[str, float]:
    """Return what `Threshold` holds of a mean logit."""
    return {"logit": float(logit), "score": float(model.calibrated(logit))}


def write(file: Path, content: dict, key: Ed25519PrivateKey, *, now: datetime | None = None) -> Profile:
    """Sign a profile and write it, whole or not at all.

    Parameters
    ----------
    content : all of `Profile` but kind, version, at, key and signature
    """
    at = (now or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signed = record.sign({"kind": KIND, "version": 1, "at": at} | content, key)
    text = json.dumps(signed, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    profile = Profile.model_validate_json(text)  # what cannot be read is not written
    record.write(file, text.encode())
    return profile


def read(file: Path, model: Model, p: listener.Sections, *, site: str | None = None, root: Path = Path()) -> Profile:
    """Return the profile in a file, whose threshold is for this model with these sections.

    Parameters
    ----------
    site : the one that it must be of, where that is known
    root : the project's folder, with the public keys that are trusted in models/keys

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no profile, or cut off; of another model, of other settings or of another site; or it was not signed, as
        it is, by a key that is trusted.
    """
    name = shown(file)
    content = _content(file)
    if faults := list(record.signature_faults(content, keys.trusted(root / record.KEYS))):
        raise ValueError(f"{name}: {faults[0]}; it was altered, or signed elsewhere: {REMEDY}")
    profile = _profile(content, name)
    if site is not None and profile.site != site:
        raise ValueError(f"{name}: site={profile.site!r} must be {site!r}, where this device hangs; take its profile")
    if (sha256 := sha256_of(model.path)) != profile.model_sha256:
        raise ValueError(
            f"{name}: model_sha256={profile.model_sha256[:16]} must be that of {model.path}, {sha256[:16]}: another "
            "model hears the site in another way; calibrate again with this one"
        )
    now = settings_of(model, p, profile.threshold.logit)
    if changed := [key for key in now if profile.settings.get(key) != now[key]]:
        raise ValueError(
            f"{name}: {changed[0]}={profile.settings.get(changed[0])} of the detector is now {now[changed[0]]} by "
            "params.yaml; calibrate again, or bring back what it was"
        )
    try:
        decides(profile, model, p)
    except ValueError as e:
        raise ValueError(f"{name}: {e}") from None
    return profile


def decides(profile: Profile, model: Model, p: listener.Sections) -> Model:
    """Return the model that decides by a profile: `model`, with the site verifier where the profile has one.

    ValueError where the verifier is for another trunk than the model's.
    """
    if profile.site_verifier is None:
        return model
    own = trunk.of_model(model, hop=p.detector.hop)
    if own is None:
        raise ValueError(f"site_verifier: {model.path} has no trunk whose vectors it reads; take the int8 network")
    content = bytes.fromhex(profile.site_verifier.content)
    number = int(profile.model_sha256[:16], 16)
    return verifier.verified(model, verifier.unpacked(content, model=number), own)


def _content(file: Path) -> dict:
    name = shown(file)
    if not file.is_file():
        raise FileNotFoundError(f"{name}: no such file; {REMEDY}")
    if (size := file.stat().st_size) > MOST_BYTES:
        raise ValueError(f"{name}: {size} bytes must be {MOST_BYTES} at most: it is no site profile; {REMEDY}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{name}: must be JSON, it may be cut off: {e}; copy it again, or {REMEDY}") from None
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise ValueError(f"{name}: is no site profile; {REMEDY}")
    if content.get("version") != 1:
        raise ValueError(f"{name}: version={content.get('version')!r} must be 1; {REMEDY}")
    return content


def _profile(content: dict, name: str) -> Profile:
    try:
        return Profile.model_validate(content)
    except pydantic.ValidationError as e:
        fault = e.errors()[0]
        raise ValueError(f"{name}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}; {REMEDY}") from None


def of_recordings(lines: list[tuple[str, str]]) -> str:
    """Return the SHA-256 of recordings, as `Hours.sha256` has it, of their own and their names."""
    return hashlib.sha256("".join(f"{sha256} {shown(name)}\n" for sha256, name in lines).encode()).hexdigest()
