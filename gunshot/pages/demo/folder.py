"""The page of gunshot demo as a folder of files that any web server can hand out."""

import hashlib
import json
from pathlib import Path
from typing import Protocol

import soundfile as sf

from gunshot.base import audio, params
from gunshot.base.files import atomic
from gunshot.detect import listener
from gunshot.models.model import Model
from gunshot.pages.demo import shots

STATIC = Path(__file__).parent / "static"
# Scripts, styles, sounds and data from where the page is from; no other place can be reached, and nothing inline runs.
POLICY = "; ".join((
    "default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "style-src 'self'", "img-src 'self'",
    "media-src 'self' blob:", "connect-src 'self'", "worker-src 'self'", "manifest-src 'self'", "base-uri 'none'",
    "form-action 'none'",
))  # fmt: skip
SCORES = (0.02, 0.999)  # that the threshold's slider reaches


class Sections(listener.Sections, Protocol):
    """The sections of params.yaml that the page is made from."""

    firmware: params.Firmware


def check(constants: Path, model: Model) -> None:
    """Raise ValueError where the firmware's generated constants.h is not that of a model, or is not there."""
    sha256 = hashlib.sha256(model.path.read_bytes()).hexdigest()
    if not constants.is_file() or sha256 not in constants.read_text():
        raise ValueError(f"{constants}: must be of {model.path}: make it with `dvc repro export`")


def write(out: Path, module: Path, model: Model, p: Sections, *, offline: bool) -> None:
    """Write the page to a folder, which is made: the same bytes for the same model.

    Parameters
    ----------
    module : of the firmware's port web, with that model
    model : the int8 model
    offline : whether browsers keep the page, for when its server is not there

    Raises
    ------
    FileExistsError
        The folder holds something that is no file of the page.
    """
    out.mkdir(parents=True, exist_ok=True)
    if strangers := sorted(path.name for path in out.iterdir() if path.name not in _names()):
        raise FileExistsError(f"{out}: {strangers[0]} is no file of the demo: OUT must be an empty folder or a demo's")
    for path in STATIC.iterdir():
        _write(out / path.name, path.read_bytes().replace(b"{{ policy }}", POLICY.encode()))
    _write(out / "gunshot.wasm", module.read_bytes())
    _write(out / "demo.json", json.dumps(_facts(out, model, p) | {"offline": offline}, indent=1).encode())
    kept = sorted(path.name for path in out.iterdir() if path.name != "offline.js")
    version = hashlib.sha256(b"".join((out / name).read_bytes() for name in kept)).hexdigest()[:16]
    listed = f"const VERSION = {json.dumps(version)};\nconst FILES = {json.dumps(['.', *kept])};\n"
    _write(out / "offline.js", listed.encode() + (STATIC / "offline.js").read_bytes())


def _names() -> set[str]:
    sounds = {_sound(i) for i in range(len(shots.SHOTS))}
    return {"gunshot.wasm", "demo.json"} | sounds | {path.name for path in STATIC.iterdir()}


def _sound(i: int) -> str:
    return f"shot{i + 1}.flac"


def _write(path: Path, data: bytes) -> None:
    with atomic(path) as part:
        part.write_bytes(data)


def _facts(out: Path, model: Model, p: Sections) -> dict:
    """Write the simulated shots, and return what the page knows of detector and sounds."""
    logits = _logits(model)
    n_frames = model.window[1]
    return {
        "sr": p.audio.sr,
        "hop_length": p.features.hop_length,
        "n_mels": p.features.n_mels,
        "after": n_frames * p.features.hop_length + p.features.n_fft,
        "full_scale_db_spl": float(audio.spl_db(audio.FULL_SCALE, full_scale_pa=p.firmware.full_scale_pa)),
        "model": hashlib.sha256(model.path.read_bytes()).hexdigest()[:16],
        "thresholds": [_threshold(model, logit, p) for logit in logits],
        "operating": logits.index(model.threshold()),
        "shots": [_shot(out, i, shot, model, p) for i, shot in enumerate(shots.render(sr=p.audio.sr))],
    }


def _logits(model: Model) -> list[float]:
    """Return the logits that the slider offers: the operating point, and steps of the model's output around it."""
    logits = [model.threshold() + i * model.step for i in range(-255, 256)]
    return [
        logit for logit in logits if SCORES[0] <= model.calibrated(logit) <= SCORES[1] or logit == model.threshold()
    ]


def _threshold(model: Model, logit: float, p: Sections) -> dict[str, float | int]:
    settings = listener.settings(model, p, logit=logit)
    score = float(model.score_of(settings.on, windows=settings.windows))
    return {"score": round(score, 4), "on": settings.on, "off": settings.off, "even": settings.even}


def _shot(out: Path, i: int, shot: shots.Shot, model: Model, p: Sections) -> dict[str, str | int]:
    """Write a simulated shot, and return what the page says of it; `detected` is how many shots detect finds."""
    with atomic(out / _sound(i)) as part:
        sf.write(part, shot.pcm, p.audio.sr, format="FLAC", subtype="PCM_16")
    (seen,), _ = listener.Listener(model, [model.threshold()], p).push(shot.pcm)
    return {"file": _sound(i), "title": shot.title, "shots": shot.shots, "detected": len(seen)}
