"""Sources to data/raw/NAME: 16 kHz mono PCM_16, recordings.csv, rejected.csv.

Worker threads decode into hidden .part files (libsndfile, FFmpeg, soxr and NumPy release the GIL). The caller's thread
takes the results in sorted order, decides, and renames. So the result does not depend on which worker was first,
and after a kill at any time there is a table of finished recordings, and nothing else to trust.
"""

import hashlib
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from gunshot import tags
from gunshot.base import audio, files, tables
from gunshot.corpora.sources import Source, rejected, without_sidecars

CHECKPOINT_S = 5.0  # between two writes of the growing table
WAV_HEADER = 44  # bytes
MOST_SAMPLES = 2**31 - 2**6  # that a wav's header can state: 37 h
NAME_MAX = 255  # bytes that a file system gives a name
ONCE = "a recording must be there once"
IMMUTABLE = "data/raw is immutable: was imported with other audio; import it under another name"


@dataclass(frozen=True)
class Summary:
    """What an import did; as text, one line to print."""

    imported: int
    already: int
    rejected: int
    hours: float  # of all that is in the table
    no_audio: int = 0  # files that lay among the recordings
    warned: int = 0  # of those imported

    def __str__(self) -> str:
        return (
            f"{self.imported} imported, {self.already} already there, {self.rejected} rejected; "
            f"{self.hours:.2f} h in all"
            + (
                f"; {self.no_audio} {'file is' if self.no_audio == 1 else 'files are'} no audio"
                if self.no_audio
                else ""
            )
            + (f"; {self.warned} imported with a warning" if self.warned else "")
        )


def _wav_header(samples: int, sr: int) -> bytes:
    """Return the 44 bytes before the samples of a mono 16-bit wav, as libsndfile writes them."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sr, 2 * sr, 2, 16)
    return struct.pack("<4sI4s24s4sI", b"RIFF", 36 + 2 * samples, b"WAVE", form, b"data", 2 * samples)


def _decode(file: Path, out: Path, *, sr: int, silence_db: float, max_clipped: float) -> dict:
    """Return what a recording's row says of its audio, which is left in a .part below `out` (key "part")."""

    def needed() -> str:
        return f"{file}: {WAV_HEADER + 2 * round(audio.header(file)[1] * sr)} bytes are needed in {out}"

    notes, digest, samples = audio.Notes(), hashlib.sha256(), 0
    handle, part = tempfile.mkstemp(dir=out, prefix=".", suffix=".part")
    try:
        # Not by soundfile: it syncs each file to the disk, 20 ms when that is busy, and hides why a write failed.
        with files.disk(needed), open(handle, "w+b") as wav:
            wav.write(bytes(WAV_HEADER))
            for y in audio.blocks(file, sr=sr, notes=notes):
                pcm = audio.to_int16(y)
                data = pcm.astype("<i2").tobytes()
                wav.write(data)
                digest.update(data)
                samples += len(pcm)
            if samples > MOST_SAMPLES:
                raise audio.AudioError(file, f"{samples / sr / 3600:.1f} h", "too long for a wav; cut it up")
            wav.seek(0)
            wav.write(_wav_header(samples, sr))
        if not samples:
            raise audio.AudioError(file, f"0 samples at {sr} Hz", "a recording must not be empty")
        for value, rule in notes.faults(silence_db=silence_db, max_clipped=max_clipped):
            raise audio.AudioError(file, value, rule)
    except BaseException:
        os.unlink(part)
        raise
    noted = {"sr_found": notes.samplerate, "decoder": notes.decoder, "warnings": "; ".join(notes.warnings)}
    return noted | {"duration_s": samples / sr, "sha256": digest.hexdigest(), "part": part}


def _examine(source: Source, row: dict | None, decode, *, sr: int) -> dict | audio.AudioError:
    """Return what is new in a source's row: nothing where its audio is there, an error where it cannot be used."""
    try:
        if row is None:
            return decode(source.file)
        sr_found, duration_s = audio.header(source.file)
    except audio.AudioError as e:
        return e.with_traceback(None)  # which holds the decoder, and 30 s of sound
    # Resampling rounds a length to whole samples.
    if sr_found != row["sr_found"] or abs(duration_s - row["duration_s"]) > 1.5 / sr:
        now, was = f"{sr_found} Hz, {duration_s:.3f} s", f"{row['sr_found']} Hz, {row['duration_s']:.3f} s"
        return audio.AudioError(source.file, f"{now}; was {was}", IMMUTABLE)
    return {}


def _targets(sources: list[Source], corpus: str) -> tuple[dict[str, Source], list[dict]]:
    """Return the sources by the path of their recordings below data/raw, sorted, and rejected rows."""
    targets, bad = {}, []
    for source in sorted(sources, key=lambda s: (str(PurePosixPath(s.path).with_suffix(".wav")), s.name)):
        path = f"{corpus}/{PurePosixPath(source.path).with_suffix('.wav')}"
        if path in targets:
            bad.append(rejected(source.name, f"becomes {path}, as does {targets[path].name}", "rename one of the two"))
        elif (n := len(os.fsencode(PurePosixPath(path).name))) > NAME_MAX:
            bad.append(rejected(source.name, f"{n} bytes in the name", f"with .wav it may have {NAME_MAX}"))
        else:
            targets[path] = source
    return targets, bad


def _write_changed(path: Path, table) -> None:
    if not path.exists() or path.read_bytes() != table.to_csv(index=False, lineterminator="\n").encode():
        tables.write(path, table)


def _write_tags(path: Path, given: dict[str, tuple[tags.Tag, ...] | None]) -> None:
    """Write the corpus's own tags; those of recordings whose sources are gone, imported before, stay."""
    known = tags.read(path)[0] if path.exists() else {}
    tagged = known | {name: list(placed) for name, placed in given.items() if placed is not None}
    if tagged != known:
        tags.write(path, tagged)


class _Corpus:
    """The recordings of one data/raw/NAME while it grows."""

    def __init__(self, out: Path, raw: Path):
        self.out, self.raw = out, raw
        self.table = out / "recordings.csv"
        known = tables.read(self.table, tables.RECORDING).to_dict("records") if self.table.exists() else []
        self.rows = {r["path"]: {"decoder": "", "warnings": ""} | r for r in known if (raw / r["path"]).is_file()}
        self.lost = [r["path"] for r in known if r["path"] not in self.rows]
        self.first = {r["sha256"]: path for path, r in self.rows.items()}
        for other in sorted(raw.glob("*/recordings.csv")):
            if other != self.table:
                for r in tables.read(other, tables.RECORDING).itertuples():
                    self.first.setdefault(r.sha256, r.path)
        self.saved = time.monotonic()

    def add(self, path: str, source: Source, facts: dict) -> dict | None:
        """Take what was examined: its row and, where it was decoded, its wav; return a rejected row for a duplicate."""
        part = facts.pop("part", None)
        if part and (first := self.first.setdefault(facts["sha256"], path)) != path:
            os.unlink(part)
            return rejected(source.name, f"same audio as {first}", ONCE)
        known = {c: getattr(source, c) for c in ("label", "recording_group", "source", "upstream", "licence")}
        if part:
            target = self.raw / path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.chmod(part, 0o644)
            os.replace(part, target)
        self.rows[path] = self.rows.get(path, {}) | {"path": path, "class": source.class_} | known | facts
        if time.monotonic() - self.saved > CHECKPOINT_S:
            self.save()
        return None

    def save(self) -> None:
        # As it was, where nothing was imported since decoders are noted.
        columns = tables.IMPORTED if any(row["decoder"] for row in self.rows.values()) else tables.RECORDING
        _write_changed(self.table, tables.frame((self.rows[p] for p in sorted(self.rows)), columns))
        self.saved = time.monotonic()

    def __enter__(self) -> None:
        self.clean()

    def __exit__(self, kind, error: BaseException | None, trace) -> None:
        self.clean()  # first: where the disk is full, that makes room for the table
        with suppress(files.FullError) if isinstance(error, files.FullError) else nullcontext():
            self.save()

    def clean(self) -> None:
        for part in self.out.rglob(".*.part"):
            part.unlink(missing_ok=True)


def _results(targets: dict[str, Source], rows: dict[str, dict], examine, workers: int) -> Iterator[tuple]:
    """Yield (path, source, what `examine` returns), in the order of `targets`."""
    pool = ThreadPoolExecutor(workers)
    try:
        outcomes = pool.map(examine, targets.values(), [rows.get(path) for path in targets])
        bar = tqdm(outcomes, total=len(targets), desc="import", unit="file")
        yield from zip(targets, targets.values(), bar, strict=True)
    finally:
        pool.shutdown(cancel_futures=True)


def import_corpus(
    sources: list[Source],
    rejected_rows: list[dict],
    out: Path,
    raw: Path,
    *,
    sr: int,
    silence_db: float,
    max_clipped: float,
    max_rejected: float,
    workers: int = 2,
) -> Summary:
    """Convert sources to ``out`` (data/raw/NAME), list them in recordings.csv and the rest in rejected.csv.

    Tags that sources bring along go to tags.csv beside it.

    What is there already is not decoded again: its source's sample rate and duration must still be
    those of its row (data/raw is immutable), only its labels follow the source. A second run
    changes no byte, and a run after a kill ends as if there had been none.

    `silence_db` (dBFS), `max_clipped` and `max_rejected` (shares) are as in params.yaml, quality.

    Raises
    ------
    ValueError
        `out` does not lie directly in `raw`, or a source lies in `out`.
    tables.RejectedError
        More was rejected than `max_rejected` allows; both tables were written.
    files.FullError
        The disk is full; what was imported until then stays, and the next run goes on from there.
    """
    out, raw = Path(out), Path(raw)
    if out.parent.resolve() != raw.resolve():
        raise ValueError(f"out={out} must lie directly in raw={raw}")
    if inside := next((s.file for s in sources if s.file.resolve().is_relative_to(out.resolve())), None):
        raise ValueError(f"{inside}: lies in out={out}; what is imported must lie outside it")
    out.mkdir(parents=True, exist_ok=True)
    corpus = _Corpus(out, raw)
    total = len(sources) + len(rejected_rows)
    sources, beside = without_sidecars(sources, lambda s: s.name, lambda s: s.file)
    targets, bad = _targets(sources, out.name)
    bad += beside + rejected_rows
    bad += [rejected(path, "no such file", IMMUTABLE) for path in corpus.lost if path not in targets]
    decode = partial(_decode, out=out, sr=sr, silence_db=silence_db, max_clipped=max_clipped)
    before, seen = set(corpus.rows), 0
    examine = partial(_examine, decode=decode, sr=sr)
    with corpus, closing(_results(targets, dict(corpus.rows), examine, workers)) as results:
        for path, source, outcome in results:
            if isinstance(outcome, audio.AudioError):
                bad.append(rejected(source.name, outcome.value, outcome.rule))
            elif row := corpus.add(path, source, outcome):
                bad.append(row)
            else:
                seen += path in before
    table = tables.frame(sorted(bad, key=lambda r: (r["file"], r["value"])), tables.REJECTED)
    _write_changed(out / "rejected.csv", table)
    _write_tags(out / "tags.csv", {path: s.tags for path, s in targets.items() if path in corpus.rows})
    hours = sum(r["duration_s"] for r in corpus.rows.values()) / 3600
    new = corpus.rows.keys() - before
    warned = sum(bool(corpus.rows[path]["warnings"]) for path in new)
    summary = Summary(len(new), seen, len(bad) - len(beside), hours, len(beside), warned)
    tables.check_rejected(table, total, limit=max_rejected, where=out / "rejected.csv")
    return summary
