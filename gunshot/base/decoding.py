"""One way into a file of sound: libsndfile where it reads the whole of it, FFmpeg (PyAV) to the end where it does not.

A length that a header states, or that libsndfile guesses, is compared with what the file holds. What differs is an
error, or a warning where all that is there is heard.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf

from gunshot.base import endings, riff
from gunshot.base.files import shown

RATES = (1000, 1_000_000)  # Hz; a header outside is damaged, and resampling 1 Hz would fill the memory
# By which sound is known in a folder; what has another suffix (.ts: TypeScript too) is sound where a decoder reads it.
SNDFILE = (".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64")
FFMPEG = (
    ".m4a", ".aac", ".webm", ".weba", ".wma", ".mp4", ".mov", ".mkv", ".mka", ".3gp", ".amr", ".avi", ".mp2", ".wv",
    ".flv", ".ac3", ".eac3", ".tta",
)  # fmt: skip
SUFFIXES = SNDFILE + FFMPEG
CONTAINERS = (  # FFmpeg's names; no other is tried
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,aac,amr,avi,mp3,caf,wv,mpegts,flv,ac3,eac3,tta"
)
GUESSING = ("aac", "ac3", "amr", "au", "eac3", "flac", "mp3")  # of these it knows no length before the end
READERS = "FFmpeg or libsndfile must read it"
WHOLE = "a recording must not be truncated"
ALONE = "a recording must be one stream; split or convert it"
SLACK_S = 0.3  # by which a stated length and a codec's last block may differ
DAMAGED = 0.01  # share of packets that may count as silence


class AudioError(ValueError):
    """A file that cannot be used as audio. ``value`` is what was found, ``rule`` what is asked."""

    def __init__(self, path: Path | str, value: str, rule: str):
        self.path, self.value, self.rule = shown(path), value, rule
        super().__init__(f"{self.path}: {value}: {rule}")

    def __reduce__(self):  # to reach the caller's process
        return type(self), (self.path, self.value, self.rule)


def is_sound(path: Path | str) -> bool:
    """Return whether a file is one of sound: its suffix says so, or a decoder reads it, whole or not.

    An empty one says so by its suffix alone.
    """
    if Path(path).suffix.lower() in SUFFIXES:
        return True
    try:
        with opened(path):
            return True
    except AudioError as e:
        return e.rule != READERS and os.path.getsize(path) > 0


@contextmanager
def opened(path: Path | str) -> Iterator["Sndfile | Ffmpeg"]:
    """Give a file to read from; AudioError where it is no sound, empty, or cannot be had whole."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):  # a pipe would wait for its writer
        raise AudioError(path, "is a pipe or a device", "a recording must be a file")
    with closing(_source(path)) as source:
        if not RATES[0] <= source.samplerate <= RATES[1]:
            raise AudioError(path, f"{source.samplerate} Hz", f"the sample rate must be {RATES[0]} to {RATES[1]} Hz")
        yield source


def _source(path: Path | str) -> "Sndfile | Ffmpeg":
    try:
        source = Sndfile(path)
    except sf.LibsndfileError as e:
        if words := unreadable(path):
            raise AudioError(path, words, READERS) from None
        if not os.path.getsize(path):
            raise AudioError(path, "0 bytes", "a recording must not be empty") from None
        return Ffmpeg(path, CONTAINERS, e.error_string)
    with closing_on_error(source):
        source.check_alone()
        if kind := source.guesses():
            source.close()
            return Ffmpeg(path, kind, f"no sound of {kind}", source.warnings, stated_s=source.stated_s)
        source.check()
        return source


@contextmanager
def closing_on_error(thing) -> Iterator[None]:
    """Close a thing where the block raises."""
    try:
        yield
    except BaseException:
        thing.close()
        raise


def unreadable(path: Path | str) -> str | None:
    """Return why the system does not open a file, of which libsndfile only says System error; None where it does."""
    try:
        with open(path, "rb"):
            return None
    except OSError as e:
        return e.strerror


class Sndfile:
    """A file that libsndfile decodes.

    Attributes
    ----------
    decoder : str
        Name and version.
    samplerate, channels, frames : int
        `frames` is the length, which holds.
    warnings : list of str
        What is amiss with the file, and heard all the same; complete when it has ended.
    """

    decoder = f"libsndfile {sf.__libsndfile_version__}"

    def __init__(self, path: Path | str):
        self.path, self.warnings, self._done = path, [], 0
        self._file = self._opened()
        self.samplerate, self.channels, self.frames = self._file.samplerate, self._file.channels, self._file.frames

    @property
    def ended(self) -> bool:
        """Whether `read` has given all there is."""
        return self._done >= self.frames

    @property
    def stated_s(self) -> float | None:
        """The length that the header of a format other than MP3 states, s; None where it states none."""
        states = self._file.format != "MP3" and 0 < self.frames < 2**36  # of FLAC's 36 bits
        return self.frames / self.samplerate if states else None

    def read(self, n: int) -> np.ndarray:
        """Return the next frames, float32 [shape=(n, channels)], fewer only at the end; AudioError where it is cut."""
        try:
            x = self._file.read(n, dtype="float32", always_2d=True)
        except sf.LibsndfileError as e:
            raise AudioError(self.path, e.error_string, READERS) from None
        self._done += len(x)
        # Of a damaged page of Ogg too: what follows would move to its place.
        if len(x) < n and not self.ended:
            raise AudioError(self.path, f"{self._done} of {self.frames} frames", WHOLE)
        return x

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def guesses(self) -> str | None:
        """Return the name of a format whose length is not stated, or too short, so that libsndfile only guesses it."""
        if self._file.format == "FLAC":
            return "flac" if not self.stated_s or self._goes_on() else None
        if self._file.format == "AU" and self.stated_s:
            return "au" if self._goes_on() else None
        if self._file.format != "MP3":
            return None
        frames, more = endings.mp3(self.path)
        if more:
            self.warnings.append(f"header states {frames} frames of MP3, more follow; all of it is heard")
        return "mp3" if more or not frames else None

    def check(self) -> None:
        """Raise AudioError where there is nothing, or less or more than the header promises."""
        if self._file.format in ("AIFF", "AU", "CAF") and (remark := self._goes_on()):
            rule = "nothing must follow what a header states; write it anew, or import it elsewhere as raw data"
            raise AudioError(self.path, remark, rule)
        if self.frames == 0:
            raise AudioError(self.path, "0 samples", "a recording must not be empty")
        if remark := self._truncated():
            raise AudioError(self.path, remark, WHOLE)

    def check_alone(self) -> None:
        """Raise AudioError where another file was joined to this one; of WAV and AIFF libsndfile tells."""
        with open(self.path, "rb") as stream:
            byte = riff.joined(stream) if self._file.format == "RF64" else endings.joined(stream, self._file.format)
        if byte is not None:
            raise AudioError(self.path, f"another {self._file.format} file begins at byte {byte}", ALONE)

    def _opened(self) -> sf.SoundFile:
        """Return the file as libsndfile reads it: a WAV under a right header, where its own is wrong."""
        try:
            with open(self.path, "rb") as stream:
                sound = riff.data(stream)
                more = sound and riff.another(stream, sound)
        except OSError:  # what is wrong is told by whoever opens it
            sound = None
        if not sound or (sound.held < sound.stated and not sound.never_written):
            return sf.SoundFile(os.fsencode(self.path))
        try:
            return sf.SoundFile(self._mended(sound) or os.fsencode(self.path))
        except sf.LibsndfileError:
            if more:
                raise
            # A chunk that says nothing of the sound, such as Audition's PEAK, is not as libsndfile would have it.
            return sf.SoundFile(riff.Mended(self.path, sound))

    def _mended(self, sound: riff.Data) -> riff.Mended | None:
        """Return a WAV under a right header where its own states too little, or nothing; the warning is noted."""
        if sound.held != sound.stated:
            sizes = f"header states {sound.stated} bytes of sound, the file holds {sound.held}"
            self.warnings.append(f"{sizes}; all of it is heard")
        elif sound.padded:
            return None
        return riff.Mended(self.path, sound)

    def _goes_on(self) -> str | None:
        """Return what a header states, and how much more there is that may be sound; None where it is all."""
        try:
            place, size = endings.stated(self.path, self.frames)
        except sf.LibsndfileError:  # what is wrong is told by whoever reads on
            return None
        with open(self.path, "rb") as stream:
            if place == size or endings.ends(stream, place, size, self._file.format):
                return None
        return f"header states {self.frames} frames, which end at byte {place} of {size}"

    def _truncated(self) -> str | None:
        """Return why a file is cut short, None where it is whole; libsndfile reads wav, aiff, au, w64, ogg that are."""
        for promised, held in _PROMISED.findall(self._file.extra_info):
            if int(promised) > int(held):
                return f"header promises {promised} bytes of data, file holds {held}"
        if self._file.format == "OGG":
            with open(self.path, "rb") as stream:
                stream.seek(max(0, os.fstat(stream.fileno()).st_size - _OGG_PAGE))
                tail = stream.read()
            page = tail[tail.rfind(b"OggS") :]
            sizes = page[27 : 27 + page[26]] if len(page) > 26 else b""
            if not sizes or not page[5] & _OGG_LAST or len(page) < 27 + len(sizes) + sum(sizes):
                return "no last page of the stream"
        return None


_PROMISED = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*:\s*(\d+)\s*\(should be (\d+)\)", re.MULTILINE)
_OGG_PAGE = 65307  # bytes, at most: RFC 3533
_OGG_LAST = 4  # the flag of a stream's last page


class Ffmpeg:
    """A file that FFmpeg decodes to its end, with the attributes of `Sndfile`; `frames` is known when it has ended.

    Parameters
    ----------
    formats : FFmpeg's names of the containers that it may be, by commas
    otherwise : why the file is no sound if it is none of them
    warnings : what is known to be amiss before
    stated_s : the length that the header states, s, where FFmpeg would only guess it
    """

    def __init__(
        self,
        path: Path | str,
        formats: str,
        otherwise: str,
        warnings: Iterable[str] = (),
        *,
        stated_s: float | None = None,
    ):
        import av  # 0.2 s, which few files need

        self.path, self.warnings, self.frames, self._left = path, [*warnings], 0, None
        self._known_s = stated_s
        self.decoder = f"FFmpeg {av.ffmpeg_version_info} (PyAV {av.__version__})"
        self._stream = open(path, "rb")  # noqa: SIM115 - a stream, since a name need not be text
        with closing_on_error(self):
            try:
                self._error = av.error.FFmpegError, OSError  # the latter where it seeks to nowhere
                options = {"format_whitelist": formats}
                self._container = av.open(self._stream, options=options, metadata_errors="replace")
            except (*self._error, ValueError):
                raise AudioError(path, otherwise, READERS) from None
            self._check_size()
            self._audio = self._container.streams.best("audio")
            if self._audio is None or self._audio.codec_context is None:
                raise AudioError(path, "no sound in it that FFmpeg knows", READERS)
            if (n := len(self._container.streams.audio)) > 1:
                self.warnings.append(f"{n} streams of sound; stream {self._audio.index} is heard")
            self._parts = self._decoded()
            self.samplerate, self.channels = 0, 0
            self._next()
            if self._left is None:
                raise AudioError(path, "0 samples", "a recording must not be empty")

    @property
    def ended(self) -> bool:
        """Whether `read` has given all there is."""
        return self._left is None

    def read(self, n: int) -> np.ndarray:
        """Return the next frames, float32 [shape=(n, channels)], fewer only at the end; AudioError where it is cut."""
        parts, missing = [], n
        while missing and not self.ended:
            part, self._left = self._left[:missing], self._left[missing:]
            parts.append(part)
            missing -= len(part)
            if not len(self._left):
                self._next()
        return np.concatenate(parts) if parts else np.zeros((0, self.channels), np.float32)

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "_container"):
            self._container.close()
        self._stream.close()

    def _next(self) -> None:
        self._left = next(self._parts, None)

    def _decoded(self) -> Iterator[np.ndarray]:
        """Yield what frames hold, float32 [shape=(n, channels)], and at the end compare it with what was stated."""
        packets, damaged = 0, 0
        try:
            for packet in self._container.demux(self._audio):
                packets += 1
                try:
                    frames = packet.decode()
                except self._error:
                    damaged += 1
                    lost = int((packet.duration or 0) * packet.time_base * self.samplerate)
                    self.frames += lost
                    if lost:  # what follows stays at its time
                        yield np.zeros((lost, self.channels), np.float32)
                    continue
                for frame in frames:
                    self._hold(frame.sample_rate, frame.layout.nb_channels)
                    self.frames += frame.samples
                    yield _floats(frame)
        except self._error as e:
            raise AudioError(self.path, f"{self.frames} frames, then {e.strerror or e}", WHOLE) from None
        if damaged > 1 + DAMAGED * packets or not self.frames:
            raise AudioError(self.path, f"{damaged} of {packets} packets cannot be decoded", READERS)
        if damaged:
            self.warnings.append(f"{damaged} of {packets} packets cannot be decoded; they count as silence")
        stated, held = self._stated_s(), self.frames / self.samplerate
        if stated and stated > held + SLACK_S:
            raise AudioError(self.path, f"header states {stated:.3f} s, file holds {held:.3f} s", WHOLE)
        if stated and stated < held - SLACK_S:
            self.warnings.append(
                f"header states {stated:.3f} s of sound, the file holds {held:.3f}; all of it is heard"
            )

    def _check_size(self) -> None:
        """Raise AudioError where a wma states more bytes than there are; FFmpeg then makes up its length."""
        head, held = os.pread(self._stream.fileno(), 2**16, 0), os.fstat(self._stream.fileno()).st_size
        place = head.find(_ASF) + 40
        if self._container.format.name == "asf" and place >= 40:
            stated = int.from_bytes(head[place : place + 8], "little")
            if stated > held:
                raise AudioError(self.path, f"header promises {stated} bytes, file holds {held}", WHOLE)

    def _hold(self, samplerate: int, channels: int) -> None:
        """Take the first frame's rate and channels; AudioError where a later one has others."""
        if not self.frames:
            self.samplerate, self.channels = samplerate, channels
        elif (samplerate, channels) != (self.samplerate, self.channels):
            now, before = f"{samplerate} Hz, {channels} channels", f"{self.samplerate} Hz, {self.channels} channels"
            raise AudioError(self.path, f"{now} after {self.frames} frames of {before}", ALONE)

    def _stated_s(self) -> float | None:
        """Return the length that a header states, s; None where none does."""
        if self._known_s or self._container.format.name in GUESSING:
            return self._known_s
        if self._audio.duration:
            return float(self._audio.duration * self._audio.time_base)
        if match := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", self._audio.metadata.get("DURATION", "").strip("\0 ")):
            return 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])
        alone = len(self._container.streams) == 1 and self._container.duration
        return self._container.duration / 1e6 if alone else None


_ASF = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # of the object with the file's properties


def _floats(frame) -> np.ndarray:
    """Return a frame's samples of any format, float32 [shape=(n, channels)], 1 at full scale."""
    x = frame.to_ndarray()
    x = x.T if frame.format.is_planar else x.reshape(-1, frame.layout.nb_channels)
    if x.dtype.kind == "u":
        x = x.astype(np.int16) - 128
        return (x / np.float32(128)).astype(np.float32)
    if x.dtype.kind == "i":
        return (x / -float(np.iinfo(x.dtype).min)).astype(np.float32)
    return x.astype(np.float32)
