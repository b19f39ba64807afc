"""The detector as packages for boards: an Arduino library, a Zephyr module, an ESP-IDF component, a CMake package.

All hold the same src/: the firmware's C, what the stage export generated, and what they use of CMSIS-DSP. Each file is
that of the tree, but for the places of its includes: none needs an include path.
"""

import hashlib
import posixpath
import re
import zipfile
from pathlib import Path

from gunshot.base.files import atomic

HEADER = "gunshot_listener.h"
CMSIS = "gunshot/cmsis/"  # below src/
UNPROMOTED = "0.0.0"  # version of what nobody promoted
TOP = "gunshot"  # the folder in a zip, after which ESP-IDF names the component
FOLDER = "packages"  # of firmware/
# Of each kind the files beside src/: whatever else lies there, as what a build leaves, is none.
OWN = {
    "arduino": (
        "README.md",
        "library.properties",
        "examples/Buffer/Buffer.ino",
        "examples/Nano33BLESense/Nano33BLESense.ino",
    ),
    "zephyr": (
        "README.md",
        *(f"zephyr/{name}" for name in ("CMakeLists.txt", "Kconfig", "module.yml")),
        *(f"samples/dmic/{name}" for name in ("CMakeLists.txt", "prj.conf", "sample.yaml", "src/main.c")),
        "samples/dmic/boards/arduino_nano_33_ble_nrf52840_sense.conf",
    ),
    "esp-idf": (
        *("README.md", "CMakeLists.txt", "idf_component.yml"),
        *(f"examples/i2s/{name}" for name in ("CMakeLists.txt", "sdkconfig.defaults")),
        *(f"examples/i2s/main/{name}" for name in ("CMakeLists.txt", "main.c", "microphone.h")),
    ),
    "cmake": ("README.md", "CMakeLists.txt", "example/CMakeLists.txt", "example/main.c"),
}
KINDS = tuple(OWN)
ROOTS = ("gunshot_listener.c", "model_compiled.c")  # all other C is what their headers declare
INCLUDE = re.compile(r'^([ \t]*#[ \t]*include[ \t]*)[<"]([^>"\n]+)[>"]', re.MULTILINE)
MACRO = re.compile(r"\bGUNSHOT_\w+\b")
OLDEST = (1980, 1, 1, 0, 0, 0)  # that a zip can state: no time of day is in one


def package(
    kind: str, *, firmware: Path, generated: Path, model: Path, version: str, card: str, licence: Path
) -> dict[str, bytes]:
    """Return the files of a package by their names; the same ones for the same version of the same tree.

    Parameters
    ----------
    kind : one of KINDS
    firmware : the folder, with third_party/
    generated : what the stage export made of the model
    model : the .tflite
    version : three numbers with points between
    card : the model card, Markdown
    licence : the project's

    Raises
    ------
    ValueError
        There is no such kind; a file is missing; the generated ones are not of the model, or not those that this tree's
        C asks for.
    """
    if kind not in KINDS:
        raise ValueError(f"kind={kind!r} must be one of {', '.join(KINDS)}")
    src, sha256 = sources(firmware, generated), hashlib.sha256(model.read_bytes()).hexdigest()
    if f'"{sha256}"'.encode() not in src["gunshot/constants.h"]:
        raise ValueError(f"{generated}: must be of {model}: make it with `dvc repro export`")
    facts = {"VERSION": version, "MODEL_SHA256": sha256, "SOURCES_SHA256": digest(src)}
    files = {f"src/{name}": content for name, content in src.items()}
    files["src/gunshot_version.h"] = _version_header(facts).encode()
    files["CARD.md"] = card.encode()
    for name, text in (("LICENSE", licence), ("LICENSE-CMSIS", firmware / "third_party/cmsis/dsp/LICENSE")):
        files[name] = text.read_bytes()
    for name in OWN[kind]:
        files[name] = _filled((firmware / FOLDER / kind / name).read_text(encoding="utf-8"), facts).encode()
    return files


def write(out: Path, files: dict[str, bytes]) -> None:
    """Write a package as a zip with one folder: the same bytes for the same files."""
    with atomic(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{TOP}/{name}", OLDEST)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o100644 << 16
            entry.create_system = 3  # Unix, wherever it is written
            archive.writestr(entry, files[name], compresslevel=9)


def digest(files: dict[str, bytes]) -> str:
    """Return the SHA-256 of files by name, of the lines that `sha256sum` prints of them in the names' order."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def sources(firmware: Path, generated: Path) -> dict[str, bytes]:
    """Return a package's C by its names below src/, without gunshot_version.h; arguments and errors as of `package`."""
    own = [firmware / FOLDER / "listener", firmware / "src", generated]
    closed = _closure(own, firmware)
    places = {path: _place(path, own) for path in closed}
    texts = {places[path]: _placed(path, includes, places) for path, includes in closed.items()}
    _check([text for name, text in texts.items() if not name.startswith(CMSIS)], generated)
    return {name: text.encode() for name, text in texts.items()}


def _closure(own: list[Path], firmware: Path) -> dict[Path, dict[str, Path]]:
    """Return all files that a package needs, and of each what its includes mean.

    A header is sought in the folders of `own`, then in those of CMSIS, as CMake has them; it brings the C beside it.
    The compiler's own, and those for machines that a package is not for, are not there, and stay as they are.
    """
    cmsis = firmware / "third_party/cmsis"
    folders = [cmsis / "dsp", *(cmsis / name for name in ("dsp/Include", "dsp/PrivateInclude", "core/Include"))]
    wanted = [own[0] / ROOTS[0], own[1] / ROOTS[1], own[2] / "constants.h", *_dsp(firmware)]
    closed: dict[Path, dict[str, Path]] = {}
    while wanted:
        path = wanted.pop()
        if path in closed:
            continue
        if not path.is_file():
            raise ValueError(f"{path}: no such file; `dvc repro export` and firmware/third_party/fetch.py bring them")
        # CMSIS sees of the project's files the one alone that stands before one of its own.
        sought = [*(own if path.parent in own else own[:1]), *folders]
        meant = {
            name: next((folder / name for folder in sought if (folder / name).is_file()), None)
            for _, name in INCLUDE.findall(path.read_bytes().decode())
        }
        closed[path] = {name: other for name, other in meant.items() if other}
        body = path.with_suffix(".c")
        wanted += [*closed[path].values(), *([body] if path.parent in own and body.is_file() else [])]
    return closed


def _dsp(firmware: Path) -> list[Path]:
    """Return the C of CMSIS-DSP that the firmware is built with."""
    folders = {"TRANSFORM": "TransformFunctions", "TABLES": "CommonTables"}
    listed = re.findall(r"\$\{(TRANSFORM|TABLES)\}/(\w+\.c)", (firmware / "cmake/cmsis.cmake").read_text())
    return [firmware / "third_party/cmsis/dsp/Source" / folders[which] / name for which, name in listed]


def _place(path: Path, own: list[Path]) -> str:
    """Return where a file is below src/: the header that a program includes at its top, all else in folders."""
    if path.parent in own:
        return path.name if path.name == HEADER else f"gunshot/{path.name}"
    return CMSIS + (f"dsp/{path.name}" if path.parent.name == "dsp" else path.name)


def _placed(path: Path, includes: dict[str, Path], places: dict[Path, str]) -> str:
    """Return a file's text, its includes as paths from where it is."""

    def at(match: re.Match) -> str:
        if match[2] not in includes:
            return match[0]
        here = posixpath.dirname(places[path]) or "."
        return f'{match[1]}"{posixpath.relpath(places[includes[match[2]]], here)}"'

    return INCLUDE.sub(at, path.read_bytes().decode())


def _check(texts: list[str], generated: Path) -> None:
    """Raise ValueError where C names a constant of the project that nothing defines: `generated` is of another tree."""
    text = "\n".join(texts)
    enums = " ".join(re.findall(r"enum \{([^}]*)\}", text))
    defined = {*re.findall(r"#define (GUNSHOT_\w+)", text), *MACRO.findall(enums)}
    if unknown := sorted(set(MACRO.findall(text)) - defined):
        raise ValueError(
            f"{generated}: lacks {', '.join(unknown)}, which firmware/src asks for: it was made by another version of "
            "this program; check its commit out, and export there"
        )


def _version_header(facts: dict[str, str]) -> str:
    return f"""/* Generated by `gunshot export`. Never edit. */
#ifndef GUNSHOT_VERSION_H
#define GUNSHOT_VERSION_H

#define GUNSHOT_LISTENER_VERSION "{facts["VERSION"]}"
/* SHA-256 of the model, as the record of promotions has it. */
#define GUNSHOT_LISTENER_MODEL "{facts["MODEL_SHA256"]}"
/* SHA-256 of what, in src/, `find . -type f ! -name gunshot_version.h | sed s,./,, | LC_ALL=C sort | xargs sha256sum`
 * prints. */
#define GUNSHOT_LISTENER_SOURCES "{facts["SOURCES_SHA256"]}"

#endif
"""


def _filled(text: str, facts: dict[str, str]) -> str:
    for name, fact in facts.items():
        text = text.replace(f"@GUNSHOT_{name}@", fact)
    return text
