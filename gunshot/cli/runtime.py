"""gunshot export runtime: the detector as a Python wheel without TensorFlow."""

import platform
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import export
from gunshot.cli.options import given


class Machine(StrEnum):
    """Architectures that there is a wheel for."""

    x86_64 = "x86_64"
    aarch64 = "aarch64"


@export.command("runtime")
def export_runtime(
    out: Annotated[Path, typer.Argument(parser=given, help="The folder to write to.")] = Path("dist"),
    machine: Annotated[Machine, typer.Option(help="Where it is to run.")] = Machine.x86_64,
    version: Annotated[
        str | None,
        typer.Option(
            help="A promoted one. Default: the one in production; before the first promotion, the pipeline's own model."
        ),
    ] = None,
) -> None:
    """Write the detector as a Python wheel, gunshot-runtime: NumPy, cffi and the firmware's compiled C, no TensorFlow.

    The C is built first. aarch64 needs a cross compiler, x86_64 a machine of that kind. The same model gives the same
    bytes by the same compiler and the same hatchling. Of a model that was not promoted the wheel's version ends in its
    hash.
    """
    import hashlib
    import tempfile
    from importlib import metadata

    from gunshot.base import tables
    from gunshot.cli.chosen import to_export
    from gunshot.device import emulator, parity
    from gunshot.export import runtime
    from gunshot.models.model import load_model
    from gunshot.pages.demo import folder

    if machine == Machine.x86_64 and platform.machine() != machine:
        raise ValueError(f"machine={machine} must be this one, {platform.machine()}, or aarch64")
    chosen, source = to_export(version), Path("firmware")
    model = chosen.model
    with tempfile.TemporaryDirectory() as scratch:
        if chosen.version:
            source = _with_generated(source, chosen.generated, Path(scratch))
        folder.check(source / "generated/constants.h", load_model(model))
        sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
        report, operating = (tables.read_json(model.with_name(name)) for name in ("report.json", "operating.json"))
        stated = runtime.facts(
            report, operating, sha256=sha256,
            version=chosen.version or f"{metadata.version('gunshot')}+model.{sha256[:12]}",
        )  # fmt: skip
        libraries = {
            name: emulator.build(preset, firmware=source) / parity.LIBRARY
            for name, preset in runtime.MACHINES[machine].items()
        }
        print(runtime.write(
            out, libraries, stated, machine=machine, firmware=source, licence=Path("LICENSE"), card=chosen.card
        ))  # fmt: skip


def _with_generated(firmware: Path, generated: Path, out: Path) -> Path:
    """Return a copy of the firmware's sources in a folder, with what was generated of another model."""
    import shutil

    built = shutil.ignore_patterns("build", "generated", "third_party", "__pycache__")
    shutil.copytree(firmware, out, ignore=built, dirs_exist_ok=True)
    (out / "third_party").symlink_to((firmware / "third_party").resolve())
    shutil.copytree(generated, out / "generated")
    return out
