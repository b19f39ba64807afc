"""The firmware's ports: built by CMake, and run on this machine or in QEMU."""

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

BOARDS = ("mps2-an386", "mps2-an500", "mps3-an547")
PORTS = ("host", *BOARDS, "web")  # presets of firmware/CMakePresets.json that can be run here
TRACED = (*PORTS, "runtime")  # those whose codes, logits and onsets are compared with Python's
PACKAGES = {  # of Debian, by the program that each brings
    "cmake": "cmake",
    "ninja": "ninja-build",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "clang": "clang wasi-libc libclang-rt-dev-wasm32",
    "wasm-ld": "lld",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
}
LONGEST = 255  # characters of all arguments: a buffer in firmware/ports/semihosting


class FirmwareError(ValueError):
    """A build or a run that failed; the message holds what the program said."""


@dataclass(frozen=True)
class Run:
    """How a program ended: its exit code, and the lines that it printed."""

    code: int
    lines: list[str]


def tool(name: str) -> str:
    """Return the path of a program; FileNotFoundError names the Debian package where it is missing."""
    path = shutil.which(name)
    if not path:
        raise FileNotFoundError(f"{name}: no such program; install it with `apt install {PACKAGES[name]}`")
    return path


def _compilers(preset: str) -> list[str]:
    """Return the programs that compile a preset for another machine than this one."""
    if preset == "runtime-aarch64":
        return ["aarch64-linux-gnu-gcc"]
    if preset.startswith(("host", "runtime")):
        return []
    return ["clang", "wasm-ld"] if preset == "web" else ["arm-none-eabi-gcc"]


def _wake_db(constants: Path) -> int:
    """Return the rise that wakes in generated constants; 0 where they are older than it, or CMake will miss them."""
    text = constants.read_text() if constants.is_file() else ""
    stated = re.search(r"#define GUNSHOT_WAKE_DB (\d+)", text)
    return int(stated[1]) if stated else 0


def build(
    preset: str, *, firmware: Path = Path("firmware"), backend: str = "compiled", wake_db: int = 0,
    ota_key: Path | None = None,
) -> Path:  # fmt: skip
    """Build a preset of firmware/CMakePresets.json, where anything changed, and return the folder of its programs.

    Each backend has a folder of its own. So has a rise that wakes it (`wake_db`; 0: it never sleeps) which is not that
    of the generated constants, and one that takes images, signed by the key in `ota_key`, a header as
    `gunshot.promotion.ota.header` has it. The first time, third-party sources are downloaded.

    Raises
    ------
    FileNotFoundError
        A program is missing.
    FirmwareError
        A step failed.
    """
    for name in ["cmake", "ninja", *_compilers(preset)]:
        tool(name)
    wake = [] if wake_db == _wake_db(firmware / "generated/constants.h") else [f"-DGUNSHOT_MEASURED_WAKE_DB={wake_db}"]
    other = [*([backend] if backend != "compiled" else []), *([f"wake{wake_db}"] if wake else [])]
    other += ["images"] if ota_key else []
    folder = f"build/{'-'.join([preset, *other])}"
    for command in (
        [sys.executable, "third_party/fetch.py"],
        ["cmake", "--preset", preset, "-B", folder, f"-DGUNSHOT_BACKEND={backend}", *wake,
         f"-DGUNSHOT_OTA_KEY={ota_key.absolute() if ota_key else ''}"],
        ["cmake", "--build", folder],
    ):  # fmt: skip
        done = subprocess.run(command, cwd=firmware, capture_output=True, text=True)
        if done.returncode:
            raise FirmwareError(f"{preset}: {' '.join(command[:2])} failed:\n{done.stdout}{done.stderr}")
    return firmware / folder


def with_generated(firmware: Path, generated: Path, out: Path) -> Path:
    """Return `out`, made a folder of the firmware that `build` takes: this tree's C with other generated files.

    It holds links; what is built in it is lost with it.
    """
    out.mkdir(parents=True)
    for path in firmware.iterdir():
        if path.name not in ("build", "generated"):
            (out / path.name).symlink_to(path.absolute())
    (out / "generated").symlink_to(generated.absolute())
    return out


def run(
    program: Path, port: str, arguments: Sequence[str] = (), *, folder: Path, timeout_s: float = 600, uart: str = "none"
) -> Run:
    """Run a program of the host or of a board in a folder, and return how it ended. `web.run` runs the port web.

    In QEMU an instruction takes a nanosecond of the machine's time (``-icount shift=0``), so that its counts repeat.

    Parameters
    ----------
    arguments : what `main` gets after its name: paths below `folder`, without blanks
    uart : where an emulated board's serial line ends, as QEMU's option -serial has it

    Raises
    ------
    FileNotFoundError
        The program or QEMU is missing.
    FirmwareError
        It did not end within `timeout_s`.
    """
    if port not in ("host", *BOARDS):
        raise ValueError(f"port={port!r} must be one of {', '.join(('host', *BOARDS))}")
    if not program.is_file():
        raise FileNotFoundError(f"{program}: no such program; make it with `make firmware`")
    if any(set(a) & set(" \t,") for a in arguments) or len(" ".join(["gunshot", *arguments])) > LONGEST:
        raise ValueError(f"arguments={list(arguments)} must hold no blank or comma, and {LONGEST} characters at most")
    program = program.resolve()
    command = [str(program), *arguments] if port == "host" else qemu(program, port, arguments, uart)
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=timeout_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise FirmwareError(f"{program.name} on {port}: timeout_s={timeout_s:g} passed; it was stopped") from None
    return Run(done.returncode, done.stdout.splitlines())


def qemu(program: Path, port: str, arguments: Sequence[str], uart: str) -> list[str]:
    """Return the command that runs a program of a board, with parameters as `run` has them."""
    semihosting = ",".join(["enable=on", "target=native", *(f"arg={a}" for a in ("gunshot", *arguments))])
    return [
        tool("qemu-system-arm"), "-M", port, "-icount", "shift=0", "-nographic", "-monitor", "none", "-serial", uart,
        "-semihosting-config", semihosting, "-kernel", str(program),
    ]  # fmt: skip
