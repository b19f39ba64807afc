"""Sound as it falls, from a microphone or from a recording in its place, and a screen that shows what is heard."""

import queue
import time
from collections import deque
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from gunshot.base import audio
from gunshot.detect import detector, listener

BARS = " ▁▂▃▄▅▆▇█"
FLOOR_DB = -90.0  # the left end of the level meter, dBFS
MOST_AGE_S = 2.0  # of what a driver gives: it is wrong beyond that
SHOWN = 10  # shots that stay on the screen

Blocks = Iterator[tuple[np.ndarray, bool]]  # float32 samples at p.audio.sr, and whether samples were lost before them


class Heard:
    """When sound was at the microphone.

    Attributes
    ----------
    unix_s : float | None
        That of the end of the block that was given last, s since 1970; None where the driver does not say.
    """

    unix_s: float | None = None


def microphone(device: str | None, sr: int, size: int, heard: Heard | None = None) -> Blocks:
    """Yield blocks from an input of this machine until interrupted; what is heard is kept nowhere.

    `heard` is told of each block.

    Raises
    ------
    ValueError
        sounddevice or PortAudio is missing, or there is no such input.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as e:
        raise ValueError(
            f"{e}: `gunshot listen` needs the extra listen (.venv/bin/uv pip install -e '.[listen]') and PortAudio "
            "(apt install libportaudio2)"
        ) from None
    import soxr

    def arrive(block, _, when, status) -> None:
        arrived.put((block[:, 0].copy(), bool(status.input_overflow), _begin(stream.time, when.inputBufferAdcTime)))

    arrived: queue.Queue = queue.Queue()
    chosen = int(device) if device and device.isdigit() else device
    try:
        rate = int(sounddevice.query_devices(chosen, "input")["default_samplerate"])
        resampler = soxr.ResampleStream(rate, sr, 1, dtype="float32")
        stream = sounddevice.InputStream(
            samplerate=rate, channels=1, dtype="float32", device=chosen, blocksize=size * rate // sr, callback=arrive
        )  # fmt: skip
    except (sounddevice.PortAudioError, ValueError) as e:
        names = "\n".join(
            f"  {d['index']}: {d['name']}" for d in sounddevice.query_devices() if d["max_input_channels"]
        )
        raise ValueError(f"device={device!r} must be an input of this machine ({e}):\n{names or '  none'}") from None
    taken = given = 0  # samples, at either rate: the resampler is behind
    with stream:
        while True:
            block, lost, begin = arrived.get()
            out = resampler.resample_chunk(block) if rate != sr else block
            given += len(out)
            if heard:
                heard.unix_s = begin and begin + given / sr - taken / rate
            taken += len(block)
            yield out, lost


def _begin(now: float, first: float) -> float | None:
    """Return when a block's first sample was at the microphone, s since 1970; None where that is not known.

    Both are by the stream's own clock: now, and the driver's word. One that has no such word says 0.
    """
    age = now - first
    return time.time() - age if first and 0 <= age < MOST_AGE_S else None


def recording(
    file: Path, sr: int, size: int, notes: audio.Notes | None = None, heard: Heard | None = None
) -> Blocks:  # fmt: skip
    """Yield a file's blocks at the pace at which a microphone would give them; `notes` as for `audio.blocks`."""
    start, played, begun = time.monotonic(), 0, time.time()
    for long in audio.blocks(file, sr=sr, repair=True, notes=notes):
        for i in range(0, len(long), size):
            block = long[i : i + size]
            played += len(block)
            time.sleep(max(0.0, start + played / sr - time.monotonic()))
            if heard:
                heard.unix_s = begun + played / sr
            yield block, False


class Screen:
    """A level meter, the scores that scroll by, and the last shots."""

    def __init__(self, point: float, width: int):
        self.point, self.scores, self.shots, self.level_db = point, deque(maxlen=width), deque(maxlen=SHOWN), FLOOR_DB

    def __rich__(self):
        from rich.console import Group
        from rich.text import Text

        wide = self.scores.maxlen or 1
        full = int(np.clip((self.level_db - FLOOR_DB) / -FLOOR_DB, 0, 1) * wide)
        scores = Text("score ")
        for s in self.scores:
            scores.append(BARS[int(np.clip(s, 0, 1) * (len(BARS) - 1))], "bold red" if s >= self.point else "cyan")
        level = Text("level ") + Text("█" * full, "green") + Text(f" {self.level_db:.0f} dBFS")
        return Group(level, scores, *(Text(shot, "bold red") for shot in self.shots))


def show(source: Blocks, ear: listener.Listener, point: float, p: listener.Sections) -> None:
    """Print the shots that a listener hears, with the time of day; on a terminal the level and the scores too.

    `point` is the score above which a window is shown as a shot's.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console()
    screen = Screen(point, max(10, console.width - 24))
    begun, since_gap = time.time(), 0.0
    with Live(screen, console=console, refresh_per_second=10) if console.is_terminal else nullcontext():
        for block, lost in source:
            if lost:
                ear.gap()
                begun, since_gap = time.time(), 0.0
            (shots,), logits = ear.push(block)
            since_gap += len(block) / p.audio.sr
            screen.level_db = 20 * np.log10(max(float(np.abs(np.nan_to_num(block)).max(initial=0)), 1e-5))
            screen.scores.extend(ear.model.score_of(logits, windows=1).tolist())
            sure = ear.model.score_of(shots[:, detector.LOGIT_SUM], windows=p.detector.windows)
            for onset, score in zip(ear.times(shots)[0], sure, strict=True):
                line = f"{time.strftime('%H:%M:%S', time.localtime(begun + onset))}  {onset:8.3f} s  score {score:.3f}"
                screen.shots.append(line)
                if not console.is_terminal:
                    print(line, flush=True)
