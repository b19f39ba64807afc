"""gunshot doctor: whether this machine has what each command needs."""

from collections.abc import Callable
from typing import NamedTuple

import typer

from gunshot.cli.app import app, version_text

DISK_GB = 5  # the pipeline with its cache takes 1.5 GB, and a retraining works in a second tree


class Check(NamedTuple):
    """What is looked for: `look` returns it as text, or raises an error that says why not; what needs it; the remedy.

    A check of the core is of what every command needs.
    """

    name: str
    look: Callable[[], str]
    needed_by: str
    remedy: str
    core: bool = False


class MissingError(Exception):
    """What a check looked for is not there; the message says what is."""


@app.command()
def doctor() -> None:
    """Tell whether this machine has what each command needs, and what to do where it has not.

    One page, for bug reports too. Ends with 0 where the core is there: Python, packages, the project and a
    temporary folder; what else is missing concerns the commands that it names.
    """
    import platform
    import textwrap

    print(f"{version_text()}, {platform.platform()}, {platform.machine()}")
    lost = []
    for check in CHECKS:
        try:
            print(f"OK       {check.name:18} {check.look()}")
        except Exception as error:  # whatever goes wrong here, the page is of use
            what = str(error).splitlines()[0] if str(error) else type(error).__name__
            text = f"{what}. Needed by {check.needed_by}: {check.remedy}"
            print(textwrap.fill(text, 100, initial_indent=f"missing  {check.name:18} ", subsequent_indent=" " * 28))
            lost += [check.name] if check.core else []
    if lost:
        print(f"the core does not work: {', '.join(lost)}")
        raise typer.Exit(1)
    print("the core works")


def _python() -> str:
    import platform
    import sys

    if sys.version_info[:2] != (3, 11):
        raise MissingError(f"Python {platform.python_version()}, must be 3.11")
    return f"{platform.python_version()}, {sys.executable}"


def _packages(extra: str = "") -> Callable[[], str]:
    """Return a check that the packages which the project asks for are installed: its own, or those of an extra."""

    def look() -> str:
        from importlib import metadata

        from packaging.requirements import Requirement

        every = [Requirement(line) for line in metadata.requires("gunshot") or []]
        asked = [one for one in every if not one.marker or (extra and one.marker.evaluate({"extra": extra}))]
        names = [one.name for one in asked if bool(one.marker) == bool(extra)]
        installed = {name: _version(name) for name in names}
        if lacking := [name for name, version in installed.items() if not version]:
            raise MissingError(f"{', '.join(lacking)} not installed")
        shown = [f"{name} {version}" for name, version in installed.items()]
        return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")

    return look


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _project() -> str:
    from gunshot.base import params, pipeline

    params.load("audio")
    return f"params.yaml and dvc.yaml, {len(pipeline.models())} models named"


def _models() -> str:
    from gunshot.base import pipeline

    lacking = [path.as_posix() for path in pipeline.models().values() if not path.exists()]
    if lacking:
        raise MissingError(f"no {', '.join(lacking)}")
    return ", ".join(pipeline.models())


def _writable(folder: Callable[[], str]) -> Callable[[], str]:
    """Return a check that a folder takes files; the folder is asked for when it is looked at."""

    def look() -> str:
        import tempfile

        with tempfile.TemporaryFile(dir=folder()):
            return folder()

    return look


def _temporary() -> str:
    import tempfile

    return tempfile.gettempdir()


def _home() -> str:
    from pathlib import Path

    return str(Path.home())


def _cache() -> str:
    """Return where compiled loops are kept."""
    from gunshot.features import _mel

    if not (place := getattr(_mel.stats, "cache_path", None)):
        raise MissingError("no place that can be written to")
    return str(place)


def _disk() -> str:
    import shutil

    free = shutil.disk_usage(".").free / 1e9
    if free < DISK_GB:
        raise MissingError(f"{free:.1f} GB free here, {DISK_GB} GB are needed")
    return f"{free:.0f} GB free here"


def _encoding() -> str:
    import locale
    import sys

    said = {
        "locale": locale.getpreferredencoding(False),
        "file names": sys.getfilesystemencoding(),
        "output": sys.stdout.encoding,
    }
    if wrong := [f"{name} in {value}" for name, value in said.items() if value.lower().replace("-", "") != "utf8"]:
        raise MissingError(f"{', '.join(wrong)}, must be UTF-8")
    return "UTF-8"


def _processor() -> str:
    from gunshot.base import processor

    if lacking := processor.NEEDED - processor.flags():
        raise MissingError(f"no {', '.join(sorted(lacking))}")
    return ", ".join(sorted(processor.NEEDED))


def _audio() -> str:
    import sounddevice  # without the extra, or PortAudio, this fails and says so

    inputs = [device["name"] for device in sounddevice.query_devices() if device["max_input_channels"]]
    if not inputs:
        raise MissingError("no audio input")
    return f"{len(inputs)} inputs, {inputs[0]}"


def _program(*names: str) -> Callable[[], str]:
    """Return a check that programs are on the PATH."""

    def look() -> str:
        import shutil

        if lacking := [name for name in names if not shutil.which(name)]:
            raise MissingError(f"no {', '.join(lacking)} on the PATH")
        return ", ".join(shutil.which(name) for name in names)

    return look


def _compiler() -> str:
    import subprocess
    from pathlib import Path

    path = _program("arm-none-eabi-gcc")()
    specs = subprocess.run([path, "-print-file-name=nano.specs"], capture_output=True, text=True).stdout.strip()
    if not Path(specs).is_file():  # the compiler comes without a C library
        raise MissingError(f"{path} without newlib")
    return path


def _postgresql() -> str:
    from pathlib import Path

    if places := sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres")):  # Debian keeps it off the PATH
        return str(places[-1])
    return _program("postgres")()


def _mosquitto() -> str:
    from pathlib import Path

    place = Path("/usr/sbin/mosquitto")  # Debian keeps it off a user's PATH
    return str(place) if place.is_file() else _program("mosquitto")()


INSTALL = "`make .venv/ready` installs them"
PLACE = "NUMBA_CACHE_DIR=/a/folder names one; without it each command compiles for some seconds"
CHECKS = (
    Check("Python", _python, "all", "`make PYTHON=/path/to/python3.11`", core=True),
    Check("packages", _packages(), "all", INSTALL, core=True),
    Check("project", _project, "all", "run this in the project's folder", core=True),
    Check("this folder", _writable(lambda: "."), "all that write", "give it to the user who runs this"),
    Check("temporary folder", _writable(_temporary), "all", "TMPDIR=/a/folder names one", core=True),
    Check("home", _writable(_home), "flows, since Prefect keeps its database there",
          "HOME=/a/folder, or PREFECT_HOME=/a/folder, names one"),
    Check("disk", _disk, "the pipeline", "make room, or move the project"),
    Check("text", _encoding, "names with other letters", "`export LC_ALL=C.UTF-8`"),
    Check("compiled loops", _cache, "a quick start", PLACE),
    Check("processor", _processor, "the same bytes as dvc.lock's",
          "all works, but what is made here differs in its last bits (DOC/decisions/027-one-processor.md)"),
    Check("models", _models, "detect, listen, evaluate, firmware", "`make`, or `dvc pull` where there is a remote"),
    Check("git", _program("git"), "the pipeline, promote, review", "`apt install git`"),
    Check("audio input", _audio, "listen", "`apt install libportaudio2`, and connect a microphone"),
    Check("pages", _packages("pages"), "annotate, explore", INSTALL),
    Check("hub", _packages("hub"), "hub, device", INSTALL),
    Check("search", _packages("search"), "search", INSTALL),
    Check("Mosquitto", _mosquitto, "hub's broker, its tests", "`apt install mosquitto`"),
    Check("C compiler", _program("gcc", "cmake", "ninja"), "firmware", "`apt install gcc cmake ninja-build`"),
    Check("cross compiler", _compiler, "firmware on a board",
          "`apt install gcc-arm-none-eabi libnewlib-arm-none-eabi`"),
    Check("clang for web", _program("clang", "wasm-ld"), "firmware in a browser",
          "`apt install clang lld wasi-libc libclang-rt-dev-wasm32`"),
    Check("QEMU", _program("qemu-system-arm"), "firmware parity, run --port mps2-an386",
          "`apt install qemu-system-arm`"),
    Check("Chromium", _program("chromium"), "make test, make pictures", "`apt install chromium`"),
    Check("PostgreSQL", _postgresql, "make test-long, Prefect's server in production", "`apt install postgresql`"),
)  # fmt: skip
