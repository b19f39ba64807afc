"""The page of gunshot demo as a folder of files that any web server can hand out."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import soundfile as sf

from gunshot.base import audio, params
from gunshot.base.files import atomic
from gunshot.detect import listener
from gunshot.models.model import Model
from gunshot.pages.demo import shots
from gunshot.site.profile import Profile

STATIC = Path(__file__).parent / "static"
# Scripts, styles, sounds and data from where the page is from; no other place can be reached, and nothing inline runs.
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "style-src 'self'", "img-src 'self'",
    "media-src 'self' blob:", "connect-src 'self'", "worker-src 'self'", "manifest-src 'self'", "base-uri 'none'",
    "form-action 'none'",
))  # fmt: skip
SCORES = (0.02, 0.999)  # that the threshold's slider reaches
MODULES = ("gunshot.wasm", "gunshot2.wasm")  # of one version, and of another one beside it
ALIKE = ("sr", "hop_length", "n_mels", "full_scale_db_spl")  # of two versions, which share the picture


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that the page is made from."""

    firmware: params.Firmware


class Version(NamedTuple):
    """A version that the page runs: the module of the port web with its model, its sections, and its name.

    `profiles` are those of sites for this model; a name is shown where another version is beside it.
    """

    module: Path
    model: Model
    p: Sections
    name: str = ""
    profiles: Sequence[Profile] = ()


def check(constants: Path, model: Model) -> None:
    """Raise ValueError where the firmware's generated constants.h is not that of a model, or is not there."""
    sha256 = hashlib.sha256(model.path.read_bytes()).hexdigest()
    if not constants.is_file() or sha256 not in constants.read_text():
        raise ValueError(f"{constants}: must be of {model.path}: make it with `dvc repro export`")


def write(out: Path, versions: Sequence[Version], *, offline: bool) -> None:
    """Write the page to a folder, which is made: the same bytes for the same models.

    Parameters
    ----------
    versions : one, or two that hear the same, side by side; what is said of a simulated shot is the first one's
    offline : whether browsers keep the page, for when its server is not there

    Raises
    ------
    FileExistsError
        The folder holds something that is no file of the page.
    ValueError
        There are more than two versions, or two that do not hear sound in the same way.
    """
    if not 1 <= len(versions) <= len(MODULES):
        raise ValueError(f"versions={len(versions)} must be 1 or {len(MODULES)}")
    if strangers := sorted(path.name for path in out.glob("*") if path.name not in _names()):
        raise FileExistsError(f"{out}: {strangers[0]} is no file of the demo: OUT must be an empty folder or a demo's")
    common = [_common(version) for version in versions]
    if differs := [name for name in ALIKE if common[0][name] != common[-1][name]]:
        name = differs[0]
        raise ValueError(f"{name}={common[-1][name]} of {versions[-1].name} must be {common[0][name]}, as of the first")
    facts = [_of_version(*each) for each in zip(MODULES, versions, strict=False)]
    out.mkdir(parents=True, exist_ok=True)
    for name in MODULES[len(versions) :]:
        (out / name).unlink(missing_ok=True)
    for path in STATIC.iterdir():
        _write(out / path.name, path.read_bytes().replace(b"{{ policy }}", POLICY.encode()))
    for name, version in zip(MODULES, versions, strict=False):
        _write(out / name, version.module.read_bytes())
    after = max(each["after"] for each in common)
    content = common[0] | {"after": after, "versions": facts, "shots": _shots(out, versions[0]), "offline": offline}
    _write(out / "demo.json", json.dumps(content, indent=1).encode())
    kept = sorted(path.name for path in out.iterdir() if path.name != "offline.js")
    version = hashlib.sha256(b"".join((out / name).read_bytes() for name in kept)).hexdigest()[:16]
    listed = f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(['.', *kept])};\n"
    _write(out / "offline.js", listed.encode() + (STATIC / "offline.js").read_bytes())


def _names() -> set[str]:
    sounds = {_sound(i) for i in range(len(shots.SHOTS))}
    return {*MODULES, "demo.json"} | sounds | {path.name for path in STATIC.iterdir()}


def _sound(i: int) -> str:
    return f"shot{i + 1}.flac"


def _write(path: Path, data: bytes) -> None:
    with atomic(path) as part:
        part.write_bytes(data)


def _common(version: Version) -> dict:
    """Return what the page knows of how a version hears; `after` are the samples until its last window has ended."""
    p, (n_mels, n_frames) = version.p, version.model.window
    return {
        "sr": p.audio.sr,
        "hop_length": p.features.hop_length,
        "n_mels": n_mels,
        "after": n_frames * p.features.hop_length + p.features.n_fft,
        "full_scale_db_spl": float(audio.spl_db(audio.FULL_SCALE, full_scale_pa=p.firmware.full_scale_pa)),
    }


def _of_version(module: str, version: Version) -> dict:
    """Return what the page knows of a version alone; `operating` and `index` are places among its thresholds."""
    model = version.model
    logits = _logits(model, [profile.threshold.logit for profile in version.profiles])
    return {
        "name": version.name,
        "module": module,
        "model": hashlib.sha256(model.path.read_bytes()).hexdigest()[:16],
        "thresholds": [_threshold(model, logit, version.p) for logit in logits],
        "operating": logits.index(model.threshold()),
        "sites": [
            {"site": profile.site, "index": logits.index(profile.threshold.logit)} for profile in version.profiles
        ],
    }


def _logits(model: Model, asked: list[float]) -> list[float]:
    """Return the logits that the slider offers: the operating point, steps of the output around it, and `asked`."""
    logits = [model.threshold() + i * model.step for i in range(-255, 256)]
    within = [logit for logit in logits if SCORES[0] <= model.calibrated(logit) <= SCORES[1]]
    return sorted({*within, model.threshold(), *asked})


def _threshold(model: Model, logit: float, p: Sections) -> dict[str, float | int]:
    settings = listener.settings(model, p, logit=logit)
    score = float(model.score_of(settings.on, windows=settings.windows))
    return {"score": round(score, 4), "on": settings.on, "off": settings.off, "even": settings.even}


def _shots(out: Path, version: Version) -> list[dict[str, str | int]]:
    """Write the simulated shots, and return what the page says of each; `detected` is how many shots detect finds."""
    rows, (model, p) = [], (version.model, version.p)
    for i, shot in enumerate(shots.render(sr=p.audio.sr)):
        with atomic(out / _sound(i)) as part:
            sf.write(part, shot.pcm, p.audio.sr, format="FLAC", subtype="PCM_16")
        (seen,), _ = listener.Listener(model, [model.threshold()], p).push(shot.pcm)
        rows.append({"file": _sound(i), "title": shot.title, "shots": shot.shots, "detected": len(seen)})
    return rows
