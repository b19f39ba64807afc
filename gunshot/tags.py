"""Tags: where shots start in recordings; the tag file, and onsets found automatically."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from gunshot import audio

HOP = 16  # samples between the envelope's values: 1 ms at 16 kHz
ATTACK = 4  # ms over which an onset's energy is averaged
BEFORE = 25  # ms before it that it must rise above
DYNAMIC_DB = 30.0  # an onset further than this below the loudest one is an echo or a handling noise


def read(path: Path | str) -> tuple[dict[str, list[int]], list[dict]]:
    """Return a tag file's starts by recording, and its bad lines as rows of tables.REJECTED.

    A line is ``path,start,start,...``: CSV without a header, starts in samples at 16 kHz. A line
    without starts says that its recording holds no shot.
    """
    found: dict[str, list[int]] = {}
    rejected = []
    # Spreadsheets write a byte order mark, and sometimes no UTF-8: such a path is no recording's, and is named.
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:
        lines = csv.reader(file)
        for row in lines:
            where = f"{path}:{lines.line_num}"
            if not row:
                continue
            name, *starts = (cell.strip() for cell in row)
            bad = [start for start in starts if not (start.isascii() and start.isdigit())]
            if bad or not name:
                value = f"start {bad[0]!r}" if bad else "no path"
                rule = "a line is path,start,start,... with starts in whole samples, 0 or more"
                rejected.append({"file": where, "value": value, "rule": rule})
            elif name in found:
                rejected.append({"file": where, "value": name, "rule": "a recording has one line in a tag file"})
            else:
                found[name] = sorted({int(start) for start in starts})
    return found, rejected


def write(path: Path | str, tags: dict[str, list[int]]) -> None:
    """Write starts by recording as a tag file, sorted by path, whole or not at all."""
    with audio.atomic(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([name, *starts] for name, starts in sorted(tags.items()))


def onsets(pcm: np.ndarray, *, sr: int, min_rise_db: float, min_interval_ms: float) -> np.ndarray:
    """Return the starts of impulses in int16 `pcm` [shape=(n,)], int64 samples [shape=(onsets,)], ascending.

    An impulse is where the energy of the next 4 ms exceeds that of the 25 ms before by `min_rise_db`.
    What lies before the recording counts as its quietest tenth (of 25 ms each), so that a shot cut at its
    start is found.
    """
    ms = sr // 1000
    if len(pcm) < (ATTACK + 1) * ms:
        return np.zeros(0, np.int64)
    energy = np.square(audio.to_float(pcm), dtype=np.float64)
    usable = len(energy) // HOP * HOP
    env = energy[:usable].reshape(-1, HOP).mean(axis=1) + 1e-10
    attack, before = ATTACK * ms // HOP, BEFORE * ms // HOP
    ahead = uniform_filter1d(env, attack, origin=-(attack // 2), mode="nearest")
    quiet = np.quantile(uniform_filter1d(env, before, mode="nearest"), 0.1)
    padded = np.concatenate([np.full(before, quiet), env])
    past = np.convolve(padded, np.full(before, 1 / before), mode="valid")[: len(env)]
    rise = 10 * np.log10(ahead / past)
    distance = max(1, round(min_interval_ms * ms / HOP))
    peaks, _ = find_peaks(np.concatenate([[-np.inf], rise, [-np.inf]]), height=min_rise_db, distance=distance)
    peaks = peaks - 1
    if not len(peaks):
        return np.zeros(0, np.int64)
    level = 10 * np.log10(ahead[peaks])
    return peaks[level >= level.max() - DYNAMIC_DB].astype(np.int64) * HOP


def gather(own: list[Path], by_hand: list[Path], recordings: pd.DataFrame) -> tuple[dict[str, list[int]], list[dict]]:
    """Return the starts that the corpora's own tag files and people's files give, and rows of tables.REJECTED.

    What a person tagged replaces what came with the corpus. A tag of an unknown or an environmental
    recording is rejected, and so is a second file of the same kind for one recording.
    """
    kinds = dict(zip(recordings["path"], recordings["class"], strict=True))
    given: dict[str, list[int]] = {}
    rejected = []
    for files in (own, by_hand):
        seen: dict[str, Path] = {}
        for path in files:
            starts, bad = read(path)
            rejected += bad
            for name in starts:
                rule = None
                if name not in kinds:
                    rule = "the path must be that of a recording, below data/raw"
                elif kinds[name] == "env" and starts[name]:
                    rule = "a recording of the class env holds no shot"
                elif name in seen:
                    rule = f"{seen[name]} tags it too; one file must"
                if rule:
                    rejected.append({"file": str(path), "value": name, "rule": rule})
                else:
                    seen[name] = path
                    given[name] = starts[name]
    return given, rejected


def check(name: str, starts: list[int], n: int) -> tuple[list[int], list[dict]]:
    """Return the starts inside a recording of `n` samples, and rows of tables.REJECTED for the others."""
    bad = [
        {"file": name, "value": f"tag {start}", "rule": f"a tag must lie in the recording, 0 to {n - 1}"}
        for start in starts
        if start >= n
    ]
    if not starts:
        bad = [{"file": name, "value": "no onset", "rule": "a gun recording must hold a shot; tag it by hand"}]
    return [start for start in starts if start < n], bad
