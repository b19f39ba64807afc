"""gunshot listen: shots as they fall, at the pace of a microphone; what is lost or missing is told."""

# ruff: noqa: F401, F811 (fixtures come from another file and are arguments here)

import builtins
import io
import json
import re
import sys
import types

import numpy as np
import pytest
import soundfile as sf
from rich.console import Console

from gunshot.detect import live as listening
from tests.cli.test_commands import forest, main, project, run

SR, HOP = 16_000, 8 * 112


@pytest.fixture
def slept(monkeypatch):
    """Nobody waits: a clock that sleeping moves on, and the seconds that were asked for."""
    clock = types.SimpleNamespace(now=100.0, asked=[])

    def sleep(seconds: float) -> None:
        clock.asked.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(listening.time, "sleep", sleep)
    monkeypatch.setattr(listening.time, "monotonic", lambda: clock.now)
    return clock


def test_shots_of_a_file_are_printed_with_time_and_score(forest, slept):
    done = run("listen", "--file", "shot.wav", "--model", forest)
    assert done.exit_code == 0 and done.stderr == ""
    clock, onset, unit, word, score = done.stdout.split()
    assert len(clock.split(":")) == 3 and abs(float(onset) - 1.0) < 0.010 and (unit, word) == ("s", "score")
    detected = run("detect", "shot.wav", "--model", forest, "--format", "json").stdout
    row = json.loads(detected)
    assert float(onset) == pytest.approx(row["onset_s"], abs=6e-4)
    assert float(score) == pytest.approx(row["score"], abs=6e-4)
    assert run("listen", "--file", "quiet.wav", "--model", forest).stdout == ""


def test_a_file_takes_as_long_as_it_sounds(forest, slept):
    run("listen", "--file", "shot.wav", "--model", forest)
    assert sum(slept.asked) == pytest.approx(2.0, abs=0.001) and max(slept.asked) <= HOP / SR + 1e-9
    assert len(slept.asked) == -(-32_000 // HOP)


def test_who_is_late_does_not_wait(project, slept):
    sf.write(project / "x.wav", np.zeros(SR), SR)
    blocks = listening.recording(project / "x.wav", SR, HOP)
    next(blocks)
    slept.now += 0.5
    for _ in blocks:
        pass
    assert 0.0 in slept.asked and sum(slept.asked) == pytest.approx(0.5, abs=HOP / SR)


def test_a_recording_comes_in_whole_at_the_pipeline_s_rate(project, slept):
    y = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)
    sf.write(project / "x.wav", np.stack([y, y], axis=1), 48_000)
    blocks = [block for block, lost in listening.recording(project / "x.wav", SR, HOP) if not lost]
    assert all(len(block) == HOP for block in blocks[:-1]) and sum(map(len, blocks)) == SR
    assert np.abs(np.concatenate(blocks) - y[::3])[200:-200].max() < 0.01


def test_a_threshold_is_of_the_score(forest, slept):
    assert run("listen", "--file", "shot.wav", "--model", forest, "--threshold", "0.99999").stdout == ""


def shown(screen: listening.Screen, styles: bool = False) -> str:
    console = Console(record=True, force_terminal=True, width=80, color_system="truecolor", file=io.StringIO())
    console.print(screen)
    return console.export_text(styles=styles)


def test_the_screen_shows_level_scores_and_the_last_shots():
    screen = listening.Screen(0.5, 40)
    screen.level_db = -45.0
    screen.scores.extend([0.0, 0.25, 0.49, 0.5, 1.0])
    screen.shots.extend(f"shot {i}" for i in range(13))
    level, scores, *shots = shown(screen).splitlines()
    assert level.count("█") == 20 and level.endswith("-45 dBFS")
    assert scores.rstrip() == "score  ▂▃▄█" and shots == [f"shot {i}" for i in range(3, 13)]
    red = "".join(re.findall(r"\x1b\[1;31m([^\x1b]*)", shown(screen, styles=True).splitlines()[1]))
    assert red == "▄█"  # from the threshold on


@pytest.mark.parametrize(("level_db", "bars"), [(-300.0, 0), (-90.0, 0), (0.0, 40), (6.0, 40)])
def test_the_level_meter_ends_where_it_ends(level_db, bars):
    screen = listening.Screen(0.5, 40)
    screen.level_db = level_db
    assert shown(screen).splitlines()[0].count("█") == bars


def test_scores_scroll():
    screen = listening.Screen(0.5, 5)
    screen.scores.extend(np.linspace(0, 1, 50))
    assert shown(screen).splitlines()[1].rstrip() == "score ▇▇▇▇█"


def refused(monkeypatch, error: Exception) -> None:
    real = builtins.__import__

    def load(name, *args, **kwargs):
        if name == "sounddevice":
            raise error
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(builtins, "__import__", load)


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'sounddevice'"),
                                   OSError("PortAudio library not found")])  # fmt: skip
def test_a_missing_sounddevice_or_portaudio_is_one_line(forest, monkeypatch, capsys, error):
    refused(monkeypatch, error)
    message = main(monkeypatch, capsys, "listen", "--model", forest)
    assert message.startswith(f"error: {error}: ") and "libportaudio2" in message and "[listen]" in message


class PortAudioError(Exception):
    pass


def fake(
    rate: int, blocks: list[tuple[np.ndarray, bool]], opened: list[dict], adc_s: float = 999.9
) -> types.ModuleType:
    """A sounddevice whose one input gives `blocks` [shape=(n, 1)] each and then is interrupted.

    `adc_s` is when each block's first sample was at the microphone, by the stream's clock.
    """
    module = types.ModuleType("sounddevice")
    devices = [{"index": 0, "name": "HDMI", "max_input_channels": 0}, {"index": 1, "name": "USB mic",
               "max_input_channels": 1}]  # fmt: skip

    class InputStream:
        time = 1000.0  # by its own clock; each block's first sample is 0.1 s old

        def __init__(self, callback, **kwargs):
            opened.append(kwargs)
            self.callback = callback

        def __enter__(self):
            when = types.SimpleNamespace(inputBufferAdcTime=adc_s)
            for block, lost in blocks:
                self.callback(block, len(block), when, types.SimpleNamespace(input_overflow=lost))

        def __exit__(self, *_):
            opened.append({"closed": True})

    def query_devices(chosen="all", kind=None):
        if chosen == "all":
            return devices
        if chosen not in (None, 1, "USB"):
            raise ValueError(f"No input device matching {chosen!r}")
        return {"default_samplerate": float(rate)}

    module.PortAudioError, module.InputStream, module.query_devices = PortAudioError, InputStream, query_devices
    return module


def test_an_unknown_input_is_named_beside_those_there_are(forest, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", fake(SR, [], []))
    with pytest.raises(ValueError, match="device='webcam' must be an input of this machine") as e:
        next(listening.microphone("webcam", SR, HOP))
    assert "  1: USB mic" in str(e.value) and "HDMI" not in str(e.value)


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("device", [None, "1", "USB"])
def test_a_microphone_s_blocks_come_at_the_pipeline_s_rate(monkeypatch, rate, device):
    t = np.arange(rate) / rate
    y = (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    blocks = [(part[:, None], i == 2) for i, part in enumerate(np.split(y, 10))]
    opened = []
    monkeypatch.setitem(sys.modules, "sounddevice", fake(rate, blocks, opened))
    source = listening.microphone(device, SR, HOP)
    got = [next(source) for _ in blocks]
    source.close()
    assert [lost for _, lost in got] == [i == 2 for i in range(10)] and opened[-1] == {"closed": True}
    assert opened[0]["samplerate"] == rate and opened[0]["blocksize"] == HOP * rate // SR
    z = np.concatenate([block for block, _ in got])
    assert SR - 800 < len(z) <= SR and z.dtype == np.float32
    expected = 0.3 * np.sin(2 * np.pi * 440 * np.arange(len(z)) / SR)
    assert np.abs(z - expected)[400:-400].max() < 0.01


def sounding(file, lost_at: int | None = None):
    """In the place of `listening.microphone`: a file's blocks at once, samples lost before one, then Ctrl-C."""

    def microphone(device, sr, size):
        y = sf.read(file, dtype="float32")[0]
        for i in range(0, len(y), size):
            yield y[i : i + size], lost_at is not None and i // size == lost_at
        raise KeyboardInterrupt

    return microphone


def test_ctrl_c_ends_it_without_a_word(forest, monkeypatch):
    monkeypatch.setattr(listening, "microphone", sounding("shot.wav"))
    done = run("listen", "--model", forest)
    assert done.exit_code == 0 and done.stderr == "" and len(done.stdout.splitlines()) == 1


def test_lost_samples_are_a_gap_and_a_warning(forest, monkeypatch):
    """Times are counted from the gap: what is lost has no length."""
    lost_at = 10
    monkeypatch.setattr(listening, "microphone", sounding("shot.wav", lost_at))
    done = run("listen", "--model", forest)
    assert done.exit_code == 0
    assert done.stderr == "warning: 0 samples were no numbers, 1 time samples were lost\n"
    assert float(done.stdout.split()[1]) == pytest.approx(1.0 - lost_at * HOP / SR, abs=0.010)


def test_what_a_gap_leaves_of_a_shot_is_told_from_there(forest, monkeypatch):
    """No window reaches across: the shot's beginning lies before the gap, and what is heard first counts from it."""
    monkeypatch.setattr(listening, "microphone", sounding("shot.wav", 1 + SR // HOP))
    done = run("listen", "--model", forest)
    assert done.exit_code == 0 and "1 time samples were lost" in done.stderr
    assert all(float(line.split()[1]) < 0.05 for line in done.stdout.splitlines())


def test_samples_that_are_no_numbers_are_told(forest, project, monkeypatch, slept):
    y = sf.read("shot.wav", dtype="float32")[0]
    y[100:103] = np.nan, np.inf, -np.inf
    sf.write(project / "broken.wav", y, SR, subtype="FLOAT")
    monkeypatch.setattr(listening, "microphone", sounding("broken.wav"))
    done = run("listen", "--model", forest)
    assert done.stderr == "warning: 3 samples were no numbers, 0 times samples were lost\n"
    assert abs(float(done.stdout.split()[1]) - 1.0) < 0.010
    played = run("listen", "--file", "broken.wav", "--model", forest)
    assert played.stdout.split()[1:] == done.stdout.split()[1:]
    assert played.stderr == "warning: broken.wav: 3 samples are no numbers; they count as silence\n"


def test_on_a_terminal_the_shot_is_on_the_screen(forest, monkeypatch):
    import rich.console

    consoles = []

    class Recorded(Console):
        def __init__(self):
            super().__init__(record=True, force_terminal=True, width=100, file=io.StringIO())
            consoles.append(self)

    monkeypatch.setattr(rich.console, "Console", Recorded)
    monkeypatch.setattr(listening, "microphone", sounding("shot.wav"))
    done = run("listen", "--model", forest)
    (console,) = consoles
    text = console.export_text()
    assert done.exit_code == 0 and "dBFS" in text and " s  score " in text and done.stdout == ""


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_microphone_says_when_the_end_of_each_block_was_at_it(monkeypatch, rate):
    """All blocks come at once here, each 0.1 s old at its first sample: a resampler's output ends before its input."""
    n, heard, given = rate // 10, listening.Heard(), 0
    blocks = [(np.zeros((n, 1), np.float32), False)] * 5
    monkeypatch.setitem(sys.modules, "sounddevice", fake(rate, blocks, []))
    monkeypatch.setattr(listening.time, "time", lambda: 50.0)
    source = listening.microphone(None, SR, HOP, heard)
    for i in range(5):
        given += len(next(source)[0])
        assert heard.unix_s == pytest.approx(50.0 - 0.1 + given / SR - i * 0.1)
    assert (given == SR // 2) == (rate == SR)
    source.close()


@pytest.mark.parametrize("adc_s", [0.0, 1000.5, 990.0])
def test_a_driver_that_does_not_say_when_is_not_believed(monkeypatch, adc_s):
    heard = listening.Heard()
    monkeypatch.setitem(sys.modules, "sounddevice", fake(SR, [(np.zeros((800, 1), np.float32), False)], [], adc_s))
    source = listening.microphone(None, SR, HOP, heard)
    next(source)
    assert heard.unix_s is None
    source.close()
