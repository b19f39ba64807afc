"""The firmware as it is built for each port, run on this machine and in QEMU, against Python on the same samples."""

import dataclasses
import json
import shutil
import struct
import subprocess
from itertools import count, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from scipy.stats import poisson
from typer.testing import CliRunner

from gunshot import cli
from gunshot.base import audio, params, tables
from gunshot.detect import listener, recording
from gunshot.device import cost, emulator, incidents, messages, parity
from gunshot.device.messages import State
from gunshot.export import constants as export
from gunshot.models.model import load_model, read_operating_point, read_report

pytestmark = pytest.mark.firmware

REPO = Path(__file__).parents[2]
FIRMWARE = REPO / "firmware"
PRESETS = [p["name"] for p in json.loads((FIRMWARE / "CMakePresets.json").read_text())["buildPresets"]]
BOARDS = emulator.BOARDS
ANY_BOARD = [pytest.param(board, marks=pytest.mark.sweep(1)) for board in BOARDS]
P = params.load("audio", "chunks", "context", "features", "detector", path=REPO / "params.yaml")
IO = 10  # of firmware/src/status.h


@pytest.fixture(scope="module")
def programs():
    """The folders of all presets' programs, by preset."""
    return {preset: emulator.build(preset, firmware=FIRMWARE) for preset in PRESETS}


@pytest.fixture(scope="module")
def measured(programs):
    """What reports/firmware.json says of each port, and the traces behind it."""
    model, pcm = load_model(REPO / "models/quantized/model.tflite"), parity.recording(sr=P.audio.sr)
    traces = {port: parity.trace(programs[port], port, pcm, P) for port in emulator.TRACED}
    return {
        port: parity.port_figures(port, programs[port], trace, pcm, model, P) for port, trace in traces.items()
    }, traces


@pytest.mark.parametrize("preset", PRESETS)
def test_own_sources_are_compiled_with_every_warning_an_error(programs, preset):
    command = ["ninja", "-C", str(programs[preset]), "-t", "commands", "gunshot"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    own = [line for line in lines if " -c " in line and "third_party/cmsis/dsp/Source" not in line.split(" -c ")[1]]
    assert len(own) > 12 and all("-Wall -Wextra -Werror" in line and "-std=c11" in line for line in own)


@pytest.mark.parametrize("preset", [*BOARDS, "nano33ble"])
def test_nothing_on_a_board_asks_for_a_heap(programs, preset):
    symbols = subprocess.run(
        ["arm-none-eabi-nm", programs[preset] / "gunshot"], capture_output=True, text=True, check=True
    ).stdout
    assert " T main" in symbols
    assert not [line for line in symbols.splitlines() if line.split()[-1] in ("malloc", "_malloc_r", "_sbrk", "free")]


def test_the_nano_s_image_begins_behind_its_bootloader(programs):
    elf = programs["nano33ble"] / "gunshot"
    image = elf.with_name("gunshot.bin")
    subprocess.run(["arm-none-eabi-objcopy", "-O", "binary", elf, image], check=True)
    stack, reset, *others = struct.unpack("<64I", image.read_bytes()[: 4 * 64])
    assert stack == 0x20000000 + 4096
    assert all(0x10000 <= entry < 0x10000 + len(image.read_bytes()) and entry % 2 for entry in (reset, *others))
    faults = set(others[:14])
    assert len(faults) == 1 and [i - 14 for i, entry in enumerate(others) if entry not in faults] == [29]  # PDM


@pytest.mark.parametrize("port", emulator.TRACED)
def test_a_port_equals_python(measured, port):
    figures, traces = measured
    counts = figures[port]["parity"]
    assert counts["cells"] >= 100_000 and counts["differing_codes"] <= counts["cells"] / 100_000
    assert counts["mismatched_bytes"] == 0 and len(set(traces[port].logits.tolist())) > 20
    assert counts["onsets"] >= 3 and counts["differing_onsets"] == 0


@pytest.mark.parametrize("port", emulator.PORTS)
def test_a_port_sends_the_messages_of_python(measured, port):
    """To the byte, but for the log-mel, where one code of a hundred thousand may be the next one."""
    path = REPO / "models/quantized/model.tflite"
    ear = listener.Listener(load_model(path), [load_model(path).threshold()], P)
    source = incidents.Incidents(
        ear, device=0, session=0, sequence=count(1), model=incidents.model_number(path.read_bytes()),
        p=params.load("firmware", path=REPO / "params.yaml").firmware,
    )  # fmt: skip
    want, sent = source.push(parity.recording(sr=P.audio.sr)) + source.end(), measured[1][port].incidents
    for a, b in zip(sent, want, strict=True):
        assert messages.encode(dataclasses.replace(a, log_mel=b.log_mel)) == messages.encode(b)
        assert (a.log_mel is None) == (b.log_mel is None)
        assert a.log_mel is None or (a.log_mel != b.log_mel).sum() <= 1
    assert {message.state for message in sent} == {State.OPENED, State.UPDATED, State.CLOSED}


def test_the_network_s_c_equals_tflm_on_ten_thousand_windows():
    counts = tables.read_json(REPO / "models/quantized/parity.json")
    assert counts["windows"] >= 10_000 and counts["mismatched_bytes"] == 0 and counts["distinct_bytes"] >= 100


def test_what_differs_is_counted_and_listed(measured):
    """Or the test above could not fail."""
    model, pcm = load_model(REPO / "models/quantized/model.tflite"), parity.recording(sr=P.audio.sr)
    traced = measured[1]["host"]
    codes, logits, (first, *others) = traced.codes.copy(), traced.logits.copy(), traced.incidents
    logits[5] += 1
    moved = [dataclasses.replace(first, onsets=(first.onset + 112, *first.onsets[1:])), *others]
    counts = parity.differences(dataclasses.replace(traced, logits=logits, incidents=moved), pcm, model, P)
    assert counts["mismatched_bytes"] == 1 and counts["differing_onsets"] == 2
    assert counts["of_python_alone"] == [first.onset] and counts["of_firmware_alone"] == [first.onset + 112]
    codes[3, 7] ^= 1
    counts, before = (
        parity.differences(dataclasses.replace(traced, codes=codes), pcm, model, P),
        measured[0]["host"],
    )
    assert abs(counts["differing_codes"] - before["parity"]["differing_codes"]) == 1


def test_the_sanitizers_find_nothing_in_the_whole_application(programs, measured):
    """With the promoted network, and to the same codes, logits and messages."""
    watched = parity.trace(programs["host-sanitize"], "host", parity.recording(sr=P.audio.sr), P)
    plain = measured[1]["host"]
    assert (watched.codes == plain.codes).all() and (watched.logits == plain.logits).all()
    assert list(map(messages.encode, watched.incidents)) == list(map(messages.encode, plain.incidents))
    assert plain.incidents


def test_the_test_streams_give_the_onsets_of_python(programs):
    """Two of each kind of those that the pipeline's figures are of."""
    folder, model = REPO / "data/streams/test", load_model(REPO / "models/quantized/model.tflite")
    paths = pd.read_csv(folder / "streams.csv").groupby(["origin", "kind"])["path"].head(2)
    counts = {}
    for path in paths:
        pcm = np.concatenate([audio.to_int16(block) for block in audio.blocks(folder / path, sr=P.audio.sr)])
        counts[path] = parity.measure("host", programs["host"], pcm, model, P)["parity"]
    counts = pd.DataFrame(counts).T
    assert (counts["mismatched_bytes"] == 0).all() and (counts["differing_onsets"] == 0).all(), counts.to_string()
    assert counts["onsets"].sum() >= 10 and counts["differing_codes"].sum() <= counts["cells"].sum() / 100_000


REAL = REPO.parent / "shared" / "audio"


@pytest.mark.skipif(not REAL.is_dir(), reason="no real recordings beside the project")
def test_ten_minutes_of_real_recordings_give_the_onsets_of_detect(programs):
    files = sorted(path for path in REAL.rglob("*") if path.suffix in (".wav", ".flac", ".ogg", ".mp3"))
    order = np.random.default_rng(0).permutation(len(files))
    parts, total = [], 0
    for i in order:
        parts += [audio.to_int16(block) for block in audio.blocks(files[i], sr=P.audio.sr)]
        total = sum(map(len, parts))
        if total >= 600 * P.audio.sr:
            break
    pcm = np.concatenate(parts)
    assert len(pcm) >= 600 * P.audio.sr
    figures = parity.measure("host", programs["host"], pcm, load_model(REPO / "models/quantized/model.tflite"), P)
    assert figures["parity"]["onsets"] >= 10 and figures["parity"]["differing_onsets"] == 0, figures
    assert figures["parity"]["mismatched_bytes"] == 0
    # Ten minutes of recordings are a sample: a share of 1e-5 gives as many at least once in a hundred.
    differing, limit = figures["parity"]["differing_codes"], figures["parity"]["cells"] / 100_000
    assert poisson.sf(differing - 1, limit) > 0.01, figures


@pytest.fixture
def keen_forest(tmp_path) -> tuple[Path, Path]:
    """A forest and firmware at a logit of 2: what the pipeline chose may be deaf to the parity recording."""
    sections = params.load("audio", "chunks", "context", "features", "detector", "firmware", path=REPO / "params.yaml")
    shutil.copytree(REPO / "models/forest", tmp_path / "forest")
    shutil.copytree(FIRMWARE, tmp_path / "firmware", ignore=shutil.ignore_patterns("build"))
    path = tmp_path / "forest/forest.joblib"
    settings = listener.settings(load_model(path), P, logit=2.0)
    operating = read_operating_point(path) | {"logit": 2.0, "settings": vars(settings)}
    tables.write_json(path.with_name("operating.json"), operating)
    source = path.with_name("forest.h").read_text()
    constants = export.forest_constants(source, read_report(path), operating, sections)
    export.write_forest(source, tmp_path / "firmware/generated", constants=constants)
    return path, tmp_path / "firmware"


def test_the_forest_on_a_board_equals_python(keen_forest):
    path, firmware = keen_forest
    programs = emulator.build("mps2-an386", firmware=firmware, backend="forest")
    pcm, model = parity.recording(sr=P.audio.sr), load_model(path)
    trace = parity.trace(programs, "mps2-an386", pcm, P)
    figures = parity.port_figures("mps2-an386", programs, trace, pcm, model, P)
    assert len(set(trace.logits.tolist())) > 60 and figures["parity"]["mismatched_bytes"] == 0
    assert figures["parity"]["onsets"] >= 3 and figures["parity"]["differing_onsets"] == 0
    assert figures["instructions"]["inference"] < 50_000 and figures["flash"]["weights"] > 10_000


@pytest.mark.parametrize("board", BOARDS)
def test_cost_is_within_the_budget(measured, board):
    assert cost.over(tables.read_json(FIRMWARE / "budget.json")[board], measured[0][board]) == []


@pytest.mark.parametrize("board", BOARDS)
def test_the_report_is_of_this_firmware(measured, board):
    """Or `make parity` was forgotten."""
    stated = tables.read_json(REPO / "reports/firmware.json")["ports"][board]
    figures = {name: stated[name] for name in tables.read_json(FIRMWARE / "budget.json")[board]}
    assert cost.over(figures, measured[0][board]) == []


def test_the_budget_knows_every_board():
    assert sorted(tables.read_json(FIRMWARE / "budget.json")) == sorted(BOARDS)


def test_a_window_keeps_the_goals_of_the_m4(measured):
    m4 = measured[0]["mps2-an386"]
    assert m4["instructions"]["total"] <= 3_500_000
    assert m4["flash_bytes"] - m4["flash"]["libc"] <= 64 * 1024
    assert m4["ram_bytes"] <= 32 * 1024
    assert 0 < m4["stack_bytes"] < m4["ram"]["stack"]


@pytest.mark.parametrize("board", BOARDS)
def test_the_parts_are_all_that_the_tools_count(programs, measured, board):
    size = subprocess.run(
        ["arm-none-eabi-size", programs[board] / "gunshot"], capture_output=True, text=True, check=True
    ).stdout
    text, data, bss = map(int, size.splitlines()[1].split()[:3])
    figures = measured[0][board]
    assert figures["flash_bytes"] == text + data
    assert abs(figures["ram_bytes"] - data - bss) < 16  # between sections


@pytest.mark.parametrize("board", BOARDS)
def test_instructions_are_the_same_in_each_run(programs, board):
    pcm = parity.recording(sr=P.audio.sr, duration_s=2.0)
    first, second = (parity.trace(programs[board], board, pcm, P).counts for _ in range(2))
    assert first == second and first["inference"] > 0


def wav(folder: Path, name: str, x: np.ndarray, sr: int, subtype: str = "PCM_16") -> str:
    sf.write(folder / name, x, sr, subtype=subtype, format="WAV")
    return name


@pytest.mark.parametrize("port", ["host-sanitize", *ANY_BOARD])
def test_what_is_no_such_wav_ends_with_a_code_of_its_own(programs, port, tmp_path):
    x = np.zeros(4000, np.int16)
    good = wav(tmp_path, "good.wav", x, 16_000)
    whole = (tmp_path / good).read_bytes()
    (tmp_path / "cut.wav").write_bytes(whole[:-100])
    (tmp_path / "head.wav").write_bytes(whole[:30])
    (tmp_path / "text.wav").write_bytes(b"not a wav at all, but long enough for a header of forty-four bytes")
    (tmp_path / "empty.wav").write_bytes(b"")
    promised = f"promises {2 * len(x)} bytes"
    expected = {
        good: "",
        "none.wav": "no such file",
        wav(tmp_path, "fast.wav", x, 44_100): "rate=44100 Hz, channels=1, bits=16, format=1 must be 16000 Hz, 1, 16, 1",
        wav(tmp_path, "stereo.wav", np.stack([x, x], axis=1), 16_000): "channels=2",
        wav(tmp_path, "bytes.wav", x, 16_000, "PCM_U8"): "bits=8",
        wav(tmp_path, "float.wav", x / 32768, 16_000, "FLOAT"): "format=3",
        "cut.wav": promised,
        **dict.fromkeys(("text.wav", "head.wav", "empty.wav"), "must be a wav"),
    }
    program, machine = programs[port] / "gunshot", "host" if port == "host-sanitize" else port
    ended = {name: emulator.run(program, machine, [name, "messages"], folder=tmp_path) for name in expected}
    assert {name: run.code for name, run in ended.items()} == {name: IO * bool(why) for name, why in expected.items()}
    for name, why in expected.items():
        assert why in "".join(ended[name].lines) and bool(ended[name].lines) == bool(why)
    too_many = [good, "messages", "1", "site", "more"]
    for arguments in ([], [good], [good, "messages", "x"], too_many, [good, "none/m"]):
        assert emulator.run(program, machine, arguments, folder=tmp_path).code == IO
    assert emulator.run(program, machine, [good, "messages", "4294967295"], folder=tmp_path).code == 0
    assert {m.session for m in messages.decode_all((tmp_path / "messages").read_bytes())} == {2**32 - 1}


@pytest.mark.parametrize("n", [40, pytest.param(176, marks=pytest.mark.exhaustive)])
def test_no_header_harms_the_reader(programs, tmp_path, drawn, n):
    """Any byte of a header, and its sizes, set to what it should not be: a known end, and no word of a sanitizer."""
    whole = bytearray((tmp_path / wav(tmp_path, "good.wav", np.ones(300, np.int16), 16_000)).read_bytes())
    codes = set()
    for at, value in drawn.sample(list(product(range(44), (0, 1, 0x7F, 0xFF))), n):
        damaged = whole.copy()
        damaged[at] = value
        (tmp_path / "x.wav").write_bytes(damaged)
        run = emulator.run(programs["host-sanitize"] / "gunshot", "host", ["x.wav", "messages"], folder=tmp_path)
        assert run.code in (0, IO), (at, value, run.lines)
        codes.add(run.code)
    assert codes == {0, IO}


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """Link a main of one's own as a program of mps2-an386; returns what the linker said, and the program."""

    def link(source: str) -> tuple[str, Path]:
        folder = tmp_path_factory.mktemp("bare")
        (folder / "main.c").write_text(source)
        ports = FIRMWARE / "ports"
        done = subprocess.run(
            ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O1",
             "-nostartfiles", "--specs=nano.specs", "-I", ports, "-I", ports / "cortex-m", "-DGUNSHOT_UART=0",
             folder / "main.c", ports / "cortex-m/startup.c", ports / "semihosting/semihosting.c",
             "-T", ports / "semihosting/memory.ld", "-T", ports / "cortex-m/sections.ld", "-o", folder / "program"],
            capture_output=True, text=True,
        )  # fmt: skip
        return done.stderr, folder / "program"

    return link


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("return 42;", 42),
        ("return argc;", 3),
        ("return argv[2][0];", ord("b")),
        ("return *(volatile int *)0x90000000;", 139),  # nothing is there
        ('__asm volatile("udf #0"); return 0;', 139),
        ("static int zero; static volatile int seven = 7; return zero * 10 + seven;", 7),  # .bss and .data
    ],
)
def test_exit_codes_and_faults_reach_the_caller(linked, tmp_path, body, code):
    said, program = linked(f"int main(int argc, char **argv) {{ (void)argc; (void)argv; {body} }}")
    assert said == ""
    assert emulator.run(program, "mps2-an386", ["a", "b"], folder=tmp_path, timeout_s=60).code == code


def test_constructors_run_before_main(linked, tmp_path):
    source = "static int code; __attribute__((constructor)) static void set(void) { code += 9; }"
    said, program = linked(f"{source} int main(void) {{ return code; }}")
    assert said == "" and emulator.run(program, "mps2-an386", folder=tmp_path, timeout_s=60).code == 9


def test_an_endless_program_is_stopped(linked, tmp_path):
    _, program = linked("int main(void) { for (;;); }")
    with pytest.raises(emulator.FirmwareError, match="timeout_s=1 passed"):
        emulator.run(program, "mps2-an386", folder=tmp_path, timeout_s=1)


def test_a_stack_that_overflows_writes_nothing(linked, tmp_path):
    _, program = linked(
        "int deeper(volatile int n) { return n ? deeper(n + 1) + n : 0; } int main(void) { return deeper(1); }"
    )
    assert emulator.run(program, "mps2-an386", folder=tmp_path, timeout_s=60).code != 0


def test_who_calls_malloc_does_not_link(linked):
    said, program = linked("#include <stdlib.h>\nint main(void) { return *(int *)malloc(4); }")
    assert "_sbrk" in said and not program.exists()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with what a user has, and a recording at another rate, in stereo."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(REPO / name, tmp_path)
    for name in ("firmware", "models"):
        (tmp_path / name).symlink_to(REPO / name)
    monkeypatch.chdir(tmp_path)
    pcm = audio.to_float(parity.recording(sr=P.audio.sr))
    y = np.repeat(pcm, 2)
    sf.write("heard.wav", np.stack([y, y], axis=1), 2 * P.audio.sr)
    sf.write("short.wav", np.zeros(1000), P.audio.sr)
    return tmp_path


def run(*args: str) -> list[dict]:
    done = CliRunner().invoke(cli.app, list(args), catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("port", ["host", *ANY_BOARD])
def test_run_shows_what_detect_shows(programs, project, port):
    shown = [
        json.loads(line)
        for line in run("firmware", "run", "heard.wav", "--port", port, "--format", "json").splitlines()
    ]
    wanted = [json.loads(line) for line in run("detect", "heard.wav", "--format", "json").splitlines()]
    assert wanted and [list(row) for row in shown] == [list(row) for row in wanted]
    assert [(row["file"], row["onset_s"]) for row in shown] == [(row["file"], row["onset_s"]) for row in wanted]
    # A message tells the highest of an incident, `detect` each shot's.
    model = load_model(REPO / "models/quantized/model.tflite")
    ear = listener.Listener(model, [model.threshold()], P)
    which = recording.joined(recording.listen(Path("heard.wav"), ear)).incident
    for name, close in (("score", 2e-4), ("level_db", 0.11)):
        highest = pd.Series([row[name] for row in wanted]).groupby(which).transform("max")
        assert [row[name] for row in shown] == pytest.approx(highest.tolist(), abs=close)


def test_run_says_where_there_is_no_shot(programs, project):
    assert run("firmware", "run", "short.wav", "--port", "host") == "short.wav  no shot\n"
    assert run("detect", "short.wav").startswith("short.wav  no shot (highest ")
