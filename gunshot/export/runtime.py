"""The port for Python as a wheel, gunshot-runtime: compiled front end, model and detector, and a module around them."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

from gunshot.base.files import atomic
from gunshot.detect import detector
from gunshot.models.model import opening_score

# Libraries by what gunshot_runtime/_native.py seeks, and their presets of firmware/CMakePresets.json, by machine.
MACHINES = {
    "x86_64": {"x86-64": "runtime", "x86-64-v3": "runtime-v3"},
    "aarch64": {"aarch64": "runtime-aarch64"},
}
# The libraries ask for memcpy and the like alone, whichever C library has them.
PLATFORMS = ("manylinux_2_17_{0}", "manylinux2014_{0}", "musllinux_1_1_{0}")
DATE = 1580601600  # of files in a wheel: 2020-02-02, as hatchling has it, so that the same model gives the same bytes
PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "gunshot-runtime"
version = "{version}"
description = "Gunshots in sound: a device's front end, network and detector, compiled"
readme = "README.md"
license = "Apache-2.0"
license-files = ["LICENSE*"]
requires-python = ">=3.10"
dependencies = ["numpy>=1.22", "cffi>=1.15"]

[tool.hatch.build.targets.wheel]
packages = ["gunshot_runtime"]

[tool.hatch.build.targets.wheel.hooks.custom]
path = "tag.py"
"""
HOOK = """from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Tag(BuildHookInterface):
    def initialize(self, version, build_data):
        build_data.update(pure_python=False, tag="py3-none-{platforms}")
"""


def facts(report: dict, operating: dict, *, sha256: str, version: str) -> dict:
    """Return what the package's model.json states of the int8 model.

    Parameters
    ----------
    report, operating : report.json and operating.json beside the model
    sha256 : of the .tflite
    """
    return {
        "version": version,
        "model_sha256": sha256,
        "score": opening_score(report, operating["logit"]),
        "calibration": report["calibration"],
        "hysteresis": operating["params"]["detector"]["hysteresis"],
        "settings": {field.name: operating["settings"][field.name] for field in fields(detector.Settings)},
    }


def write(
    out: Path,
    libraries: dict[str, Path],
    model: dict,
    *,
    machine: str,
    firmware: Path,
    licence: Path,
    card: str,
) -> Path:
    """Write a machine's wheel to a folder, which is made, and return it: the same bytes for the same libraries.

    Parameters
    ----------
    libraries : by the names of MACHINES
    model : what `facts` returns
    firmware : the folder with the port's sources
    licence : the project's
    card : the model card, Markdown

    Raises
    ------
    ValueError
        hatchling is not installed, or refuses the version.
    """
    port, platforms = firmware / "ports/runtime", ".".join(PLATFORMS).format(machine)
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch, "project")
        package = project / "gunshot_runtime"
        shutil.copytree(port / "gunshot_runtime", package, ignore=shutil.ignore_patterns("__pycache__"))
        for source, name in [
            (port / "README.md", "README.md"),
            (port / "runtime.h", "gunshot_runtime/runtime.h"),
            (licence, "LICENSE"),
            (firmware / "third_party/cmsis/dsp/LICENSE", "LICENSE.CMSIS-DSP"),
            *((library, f"gunshot_runtime/{name}.so") for name, library in libraries.items()),
        ]:
            shutil.copyfile(source, project / name)
        (package / "card.md").write_text(card, encoding="utf-8")
        (package / "model.json").write_text(json.dumps(model, indent=1, sort_keys=True) + "\n")
        (project / "pyproject.toml").write_text(PROJECT.format(version=model["version"]))
        (project / "tag.py").write_text(HOOK.format(platforms=platforms))
        wheel = _built(project)
        with atomic(out / wheel.name) as part:
            shutil.copyfile(wheel, part)
    return out / wheel.name


def _built(project: Path) -> Path:
    for path in project.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # whatever this user's umask
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"],
        cwd=project, env={**os.environ, "SOURCE_DATE_EPOCH": str(DATE)}, capture_output=True, text=True,
    )  # fmt: skip
    wheels = list((project / "dist").glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = done.stderr.strip().splitlines() or ["it wrote no wheel"]
        raise ValueError(f"hatchling: {said[-1]}; it comes with the extra runtime (`pip install gunshot[runtime]`)")
    return wheels[0]
