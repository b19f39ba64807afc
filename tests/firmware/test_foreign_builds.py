"""What ESP-IDF, Zephyr and the Pico SDK are to build, by its own CMakeLists.txt, on this machine.

None is here: files of the tests declare what is used of them, and play a recording as the microphone.
"""

import dataclasses
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from gunshot.base import params
from gunshot.device import emulator, messages, parity
from gunshot.export import packages

pytestmark = pytest.mark.firmware

REPO = Path(__file__).parents[2]
FIRMWARE, BOARDS = REPO / "firmware", Path(__file__).parent / "boards"
CHIPS = {"esp32s3": "chip", "rp2040": "gunshot"}  # ports that another build system leads, and their programs here
P = params.load("audio", "chunks", "context", "features", "detector", path=REPO / "params.yaml")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A recording as raw int16."""
    path = tmp_path_factory.mktemp("sound") / "in.raw"
    parity.recording(sr=P.audio.sr).tofile(path)
    return path


@pytest.fixture(scope="module")
def wanted():
    """The incident messages of the firmware's host port."""
    sent = parity.incidents(emulator.build("host", firmware=FIRMWARE), "host", parity.recording(sr=P.audio.sr), P)
    assert len(sent) > 1
    return sent


def unpacked(kind: str, folder: Path) -> Path:
    """Write a package's files to a folder called gunshot."""
    files = packages.package(
        kind, firmware=FIRMWARE, generated=FIRMWARE / "generated", model=REPO / "models/quantized/model.tflite",
        version="1.2.3", card="", licence=REPO / "LICENSE",
    )  # fmt: skip
    for name, content in files.items():
        (folder / "gunshot" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "gunshot" / name).write_bytes(content)
    return folder / "gunshot"


def heard(source: Path, build: Path, program: str, sound: Path, *options: str) -> bytes:
    """Build a project, play the recording to its program, and return what that says."""
    env = os.environ | {"IDF_PATH": str(BOARDS / "esp-idf"), "ZEPHYR_BASE": str(BOARDS / "zephyr")}
    env["PICO_SDK_PATH"] = str(BOARDS / "pico")
    flags = ["-G", "Ninja", "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror -O1", *options]
    for command in (["cmake", "-S", source, "-B", build, *flags], ["cmake", "--build", build]):
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    with sound.open() as played:
        return subprocess.run([build / program], stdin=played, capture_output=True, check=True).stdout


def times(said: bytes) -> list[str]:
    return re.findall(r"shot at (\d+) ms", said.decode())


def onsets(sent: list[messages.Incident]) -> list[str]:
    return [str(onset // 16) for message in sent for onset in message.onsets]


def test_a_line_set_as_buffer_s_sketch_says_carries_each_byte_and_echoes_none():
    """Of its commands the first, on a terminal whose other end is the board."""
    sketch = (FIRMWARE / "packages/arduino/examples/Buffer/Buffer.ino").read_text()
    command, *others = re.findall(r"^ \*   (.*)$", sketch, flags=re.MULTILINE)
    assert len(others) == 2 and all("/dev/ttyACM0" in other for other in others)
    board, line = pty.openpty()
    try:
        subprocess.run(command.replace("/dev/ttyACM0", os.ttyname(line)).split(), check=True)
        for near, far, sent in ((line, board, bytes(range(256))), (board, line, b"shot at 12 ms\r\n")):
            os.write(near, sent)
            assert os.read(far, 1024) == sent
        os.set_blocking(board, False)
        with pytest.raises(BlockingIOError):
            os.read(board, 1)
    finally:
        os.close(board)
        os.close(line)


@pytest.mark.slow
def test_the_component_s_example_hears_what_the_firmware_hears(tmp_path, sound, wanted):
    example = unpacked("esp-idf", tmp_path) / "examples/i2s"
    assert times(heard(example, tmp_path / "build", "chip", sound)) == onsets(wanted)


@pytest.mark.slow
def test_the_module_s_sample_hears_what_the_firmware_hears(tmp_path, sound, wanted):
    folder = unpacked("zephyr", tmp_path)
    module = f"-DZEPHYR_EXTRA_MODULES={folder}"
    assert times(heard(folder / "samples/dmic", tmp_path / "build", "app", sound, module)) == onsets(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("port", CHIPS)
def test_a_chip_sends_the_incidents_of_the_host_port(tmp_path, sound, wanted, port):
    """To the byte, but for what is the device's own. The RP2040's program for its PIO runs bit by bit."""
    sent = messages.decode_all(heard(FIRMWARE / "ports" / port, tmp_path / "build", CHIPS[port], sound))
    said = [message for message in sent if isinstance(message, messages.Incident)]
    assert {(message.device, message.session) for message in said} == {(0x03040506, 0x5E551011)}
    same = {"device": 0, "session": 0, "sequence": 0}
    alike = [[messages.encode(dataclasses.replace(m, **same)) for m in each] for each in (said, wanted)]
    # A chip hears on; the host port closes at the recording's end what is open there.
    assert len(said) > 1 and len(wanted) - len(said) <= 1
    assert alike[0] == alike[1][: len(said)]


@pytest.mark.slow
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m33"])
def test_the_cores_of_both_picos_compile_the_rp2040_s_port(tmp_path, core):
    flags = f"-mcpu={core} -mthumb -Wall -Wextra -Werror -I{BOARDS / 'pico'}"
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={FIRMWARE / 'cmake/arm-none-eabi.cmake'}"
    command = ["cmake", "-S", FIRMWARE / "ports/rp2040", "-B", tmp_path, "-G", "Ninja", toolchain]
    env = os.environ | {"PICO_SDK_PATH": str(BOARDS / "pico")}
    subprocess.run([*command, f"-DCMAKE_C_FLAGS={flags}"], env=env, check=True, capture_output=True)
    listed = subprocess.run(
        ["ninja", "-C", tmp_path, "-t", "targets", "all"], check=True, capture_output=True, text=True
    )
    objects = [line.split(":")[0] for line in listed.stdout.splitlines() if ".obj: C_COMPILER" in line]
    own = [name for name in objects if "boards/pico" not in name]
    assert {"port.c.obj", "microphone.c.obj", "ring.c.obj", "network.c.obj"} <= {Path(name).name for name in own}
    done = subprocess.run(["ninja", "-C", tmp_path, *own], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_chips_compile_what_the_other_ports_compile():
    """But for CMSIS-DSP's tables for Helium, which they have not."""

    def listed(path: Path, name: str) -> list[str]:
        return re.search(rf"set\({name} ([^)]*)\)", path.read_text())[1].split()

    def names(path: Path) -> set[str]:
        return set(re.findall(r"/(\w+)\.c\b", path.read_text()))

    own = FIRMWARE / "cmake/foreign.cmake"
    others = listed(FIRMWARE / "CMakeLists.txt", "CORE_SOURCES")
    others += listed(FIRMWARE / "cmake/backend-compiled.cmake", "BACKEND_SOURCES")
    wanted = {Path(name).stem for name in others if name.endswith(".c")} | {"main"}
    wanted |= names(FIRMWARE / "cmake/cmsis.cmake") - {"arm_mve_tables"}
    assert {*listed(own, "CORE"), *listed(own, "TRANSFORM"), *names(own)} == wanted
