"""The port for an ESP32-S3 on this machine: headers of the tests declare what it uses of ESP-IDF, no chip does."""

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest

from gunshot.base import params
from gunshot.device import emulator, messages, parity

pytestmark = pytest.mark.firmware

REPO = Path(__file__).parents[2]
FIRMWARE, BOARD = REPO / "firmware", Path(__file__).parent / "boards/esp-idf"
PORT, DSP = FIRMWARE / "ports/esp32s3/main", FIRMWARE / "third_party/cmsis/dsp"
P = params.load("audio", "chunks", "context", "features", "detector", path=REPO / "params.yaml")


def listed(text: str, name: str) -> list[str]:
    """The words of a list in a CMakeLists.txt."""
    return re.search(rf"set\({name} ([^)]*)\)", text)[1].split()


def sources() -> list[Path]:
    """What the port's own CMakeLists.txt compiles."""
    text = (PORT / "CMakeLists.txt").read_text()
    own = [PORT / "port.c", *(FIRMWARE / f"src/{name}.c" for name in listed(text, "CORE"))]
    own += [FIRMWARE / name for name in re.findall(r"\$\{FIRMWARE\}/(generated/\w+\.c)", text)]
    dsp = [DSP / f"Source/TransformFunctions/{name}.c" for name in listed(text, "TRANSFORM")]
    return own + dsp + [DSP / name for name in re.findall(r"\$\{DSP\}/(Source/CommonTables/\w+\.c)", text)]


def test_it_compiles_what_the_other_ports_compile():
    """But for CMSIS-DSP's tables for Helium, which it has not."""
    core = re.search(r"set\(CORE_SOURCES ([^)]*)\)", (FIRMWARE / "CMakeLists.txt").read_text())[1]
    backend = listed((FIRMWARE / "cmake/backend-compiled.cmake").read_text(), "BACKEND_SOURCES")
    others = {Path(name).stem for name in [*core.split(), *backend] if name.endswith(".c")} | {"main"}
    others |= set(re.findall(r"/(\w+)\.c", (FIRMWARE / "cmake/cmsis.cmake").read_text())) - {"arm_mve_tables"}
    assert {path.stem for path in sources()} == others | {"port"}


@pytest.mark.slow
def test_it_sends_the_incidents_of_the_host_port(tmp_path):
    pcm = parity.recording(sr=P.audio.sr)
    pcm.tofile(tmp_path / "in.raw")
    flags = ["-std=gnu17", "-O1", "-D__GNUC_PYTHON__", "-Wall", "-Wextra", "-Werror"]
    flags += ["-include", "network.h", "-DGUNSHOT_ARENA_BYTES=GUNSHOT_NETWORK_ARENA_BYTES", "-Dmain=gunshot_main"]
    folders = ["-I", BOARD, "-I", FIRMWARE / "src", "-I", FIRMWARE / "generated", "-isystem", DSP / "Include"]
    folders += ["-isystem", DSP / "PrivateInclude"]
    built = subprocess.run(["gcc", *flags, *folders, "-c", *sources(), BOARD / "chip.c"], cwd=tmp_path)
    assert built.returncode == 0
    main = ["gcc", "-I", BOARD, BOARD / "board.c", *tmp_path.glob("*.o"), "-lm", "-o", "chip"]
    assert subprocess.run(main, cwd=tmp_path).returncode == 0
    with (tmp_path / "in.raw").open() as sound:
        done = subprocess.run([tmp_path / "chip"], stdin=sound, capture_output=True, check=True)
    said = [message for message in messages.decode_all(done.stdout) if isinstance(message, messages.Incident)]
    assert {(message.device, message.session) for message in said} == {(0x03040506, 0x5E551011)}
    same = {"device": 0, "session": 0, "sequence": 0}
    wanted = parity.incidents(emulator.build("host", firmware=FIRMWARE), "host", pcm, P)
    alike = [[messages.encode(dataclasses.replace(m, **same)) for m in each] for each in (said, wanted)]
    # A chip hears on; the host port closes at the recording's end what is open there.
    assert len(said) > 1 and len(wanted) - len(said) <= 1
    assert alike[0] == alike[1][: len(said)]
