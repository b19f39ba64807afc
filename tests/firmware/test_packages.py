"""Packages for boards: what is in them, that they compile, and that they hear what the firmware hears."""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gunshot import cli
from gunshot.base import audio, params
from gunshot.device import emulator, parity
from gunshot.export import packages
from gunshot.promotion import bundle, registry
from tests.firmware.ear import CLOSED, OPENED, Ear

pytestmark = pytest.mark.firmware

REPO = Path(__file__).parents[2]
FIRMWARE, HERE = REPO / "firmware", Path(__file__).parent
P = params.load("audio", "chunks", "context", "features", "detector", path=REPO / "params.yaml")
WARN = "-Wall -Wextra -Werror"
STRICT = WARN.split()
M4F = "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16"
SANITIZE = "-fsanitize=address,undefined -fno-sanitize-recover=all"
BUILDS = {  # how the CMake package is built, and where what uses it is run
    "gcc": ("host", ["-DCMAKE_C_COMPILER=gcc", f"-DCMAKE_C_FLAGS={WARN} {SANITIZE}"]),
    "clang": ("host", ["-DCMAKE_C_COMPILER=clang", f"-DCMAKE_C_FLAGS={WARN}"]),
    "arm": (
        "mps2-an386",
        [
            f"-DCMAKE_TOOLCHAIN_FILE={FIRMWARE}/cmake/arm-none-eabi.cmake",
            f"-DCMAKE_C_FLAGS={WARN} {M4F} -DGUNSHOT_UART=0",
        ],
    ),
}


def run(*command, **kept) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **kept)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def gunshot(*command) -> str:
    done = CliRunner().invoke(cli.app, list(map(str, command)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with what a user has after `make`, before the first promotion."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("params.yaml", "dvc.yaml", "LICENSE", "firmware", "models", "reports", "data"):
        (folder / name).symlink_to(REPO / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(registry, "champion", lambda entries: None)
        yield folder


@pytest.fixture(scope="module")
def zips(project):
    """The zip of each kind, as the command writes it."""
    return {kind: project / gunshot("export", kind) for kind in packages.KINDS}


@pytest.fixture(scope="module")
def unpacked(zips, tmp_path_factory):
    """The folder of each kind's package."""
    folder = tmp_path_factory.mktemp("unpacked")
    for kind, path in zips.items():
        zipfile.ZipFile(path).extractall(folder / kind)
    return {kind: folder / kind / "gunshot" for kind in zips}


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """A recording as samples, as files, and what the firmware's host port tells of it: its messages and logits."""
    folder, pcm = tmp_path_factory.mktemp("heard"), parity.recording(sr=P.audio.sr)
    audio.write_pcm(folder / "in.wav", pcm, sr=P.audio.sr)
    pcm.tofile(folder / "in.raw")
    arguments, program = ["in.wav", "messages", "codes", "logits"], emulator.build("host", firmware=FIRMWARE)
    assert emulator.run(program / "gunshot_trace", "host", arguments, folder=folder).code == 0
    incidents = parity.incidents(program, "host", pcm, P)
    assert len(incidents) > 1
    return folder, pcm, incidents


@pytest.fixture(scope="module")
def library(unpacked, tmp_path_factory):
    """The sources as Arduino compiles them, but for this machine: -Os, GNU C, no flag of the package's own."""
    folder, src = tmp_path_factory.mktemp("library"), unpacked["arduino"] / "src"
    shared = ["-std=gnu11", "-Os", "-fPIC", "-shared", "-Wl,-Bsymbolic", "-w"]
    run("gcc", *shared, *sorted(src.rglob("*.c")), "-o", folder / "libgunshot.so", "-lm")
    return folder / "libgunshot.so"


@pytest.mark.slow
def test_a_zip_has_the_same_bytes_twice_and_no_time_of_day(project, zips):
    again = project / gunshot("export", "zephyr", "again")
    assert again != zips["zephyr"] and again.read_bytes() == zips["zephyr"].read_bytes()
    for path in zips.values():
        entries = zipfile.ZipFile(path).infolist()
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
        assert path.name.endswith("-0.0.0.zip")  # nobody promoted this model


def test_all_packages_have_one_source_tree_licences_and_a_card(unpacked):
    trees = [
        {path.relative_to(folder).as_posix(): path.read_bytes() for path in (folder / "src").rglob("*.[ch]")}
        for folder in unpacked.values()
    ]
    assert len(trees[0]) > 60 and all(tree == trees[0] for tree in trees)
    for folder in unpacked.values():
        assert (folder / "LICENSE").read_bytes() == (REPO / "LICENSE").read_bytes()
        assert "Apache License" in (folder / "LICENSE-CMSIS").read_text()
        assert "not promoted" in (folder / "CARD.md").read_text()
        assert "hardware" in (folder / "README.md").read_text()
        assert not [path for path in folder.rglob("*") if path.is_file() and b"@GUNSHOT_" in path.read_bytes()]


def test_each_file_is_the_tree_s_but_for_the_places_of_its_includes(unpacked):
    def bare(path: Path) -> bytes:
        return re.sub(rb'(?m)^(\s*#\s*include\s*)[<"][^>"]*/?([^/>"]+)[>"]', rb"\1\2", path.read_bytes())

    cmsis = FIRMWARE / "third_party/cmsis"
    tree = [path for folder in ("packages/listener", "src", "generated") for path in (FIRMWARE / folder).glob("*.[ch]")]
    tree += [path for folder in ("dsp", "core") for path in (cmsis / folder).rglob("*.[ch]")]
    known = {(path.name, bare(path)) for path in tree}
    src = unpacked["cmake"] / "src"
    strange = [path for path in src.rglob("*.[ch]") if (path.name, bare(path)) not in known]
    assert [path.name for path in strange] == ["gunshot_version.h"]


def test_the_version_s_header_has_the_hashes_that_a_shell_finds(unpacked):
    header = (unpacked["arduino"] / "src/gunshot_version.h").read_text()
    stated = dict(re.findall(r'#define GUNSHOT_LISTENER_(\w+) "(.*)"', header))
    command = re.search(r"`(find .*)`", header)[1]
    listed = run("sh", "-c", command, cwd=unpacked["arduino"] / "src")
    assert stated == {
        "VERSION": "0.0.0",
        "MODEL": hashlib.sha256((REPO / "models/quantized/model.tflite").read_bytes()).hexdigest(),
        "SOURCES": hashlib.sha256(listed.encode()).hexdigest(),
    }


HEADER = """
#include <gunshot_listener.h>
#include <gunshot_listener.h>
static void heard(const gunshot_heard *incident, void *context) {
  *(uint64_t *)context = incident->state == GUNSHOT_HEARD_CLOSED ? incident->onset : incident->onsets[0];
}
int main(void) {
  static int16_t samples[160];
  uint64_t at = 0;
  if (!gunshot_listener_begin(heard, &at)) return 1;
  gunshot_listener_hear(samples, 160);
  gunshot_listener_write(samples, 160);
  gunshot_listener_poll();
  gunshot_listener_end();
  return (int)(at + gunshot_listener_lost()) + (int)(GUNSHOT_LISTENER_VERSION[0] - '0');
}
"""
STANDARDS = {"c": ["c99", "c11", "c17", "c2x"], "c++": ["c++11", "c++14", "c++17", "c++20"]}


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_the_header_compiles_from_c99_and_cpp11_on(unpacked, tmp_path, compiler):
    (tmp_path / "program").write_text(HEADER)
    src = unpacked["cmake"] / "src"
    for language, standards in STANDARDS.items():
        for standard in standards:
            flags = [f"-std={standard}", *STRICT, "-pedantic", "-fsyntax-only", "-I", src, "-x", language]
            run(compiler, *flags, tmp_path / "program")


@pytest.mark.slow
@pytest.mark.parametrize("build", BUILDS)
def test_a_project_that_finds_the_cmake_package_hears_what_the_firmware_hears(unpacked, heard, tmp_path, build):
    """To the byte: logits, messages, onsets."""
    port, flags = BUILDS[build]
    folder, _, incidents = heard
    run("cmake", "-G", "Ninja", "-S", unpacked["cmake"], "-B", tmp_path / "built", *flags)
    run("cmake", "--build", tmp_path / "built")
    run("cmake", "--install", tmp_path / "built", "--prefix", tmp_path / "there")
    assert {path.name for path in (tmp_path / "there/include").iterdir()} == {
        "gunshot_listener.h", "gunshot_version.h",
    }  # fmt: skip
    borrowed = [f"-DFIRMWARE={FIRMWARE}", f"-DGENERATED={FIRMWARE}/generated"]
    finds = [f"-DCMAKE_PREFIX_PATH={tmp_path}/there", f"-DCMAKE_FIND_ROOT_PATH={tmp_path}/there", *flags, *borrowed]
    run("cmake", "-G", "Ninja", "-S", HERE / "consumer", "-B", tmp_path / "consumer", *finds)
    run("cmake", "--build", tmp_path / "consumer")
    shutil.copy(folder / "in.wav", tmp_path)
    names = ["onsets", "logits", "messages"]
    assert emulator.run(tmp_path / "consumer/consumer", port, ["in.wav", *names], folder=tmp_path).code == 0
    for name in ("logits", "messages"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes() != b""
    onsets = np.fromfile(tmp_path / "onsets", "<u8").tolist()
    assert onsets == [onset for message in incidents for onset in message.onsets]


BOARDS = HERE / "boards"
EXAMPLES = {  # by name: the package, its source, what stands for the board; test_foreign_builds.py has the others
    "Nano33BLESense": ("arduino", "examples/Nano33BLESense/Nano33BLESense.ino", "core.cpp"),
    "Buffer": ("arduino", "examples/Buffer/Buffer.ino", "core.cpp"),
    "hear": ("cmake", "example/main.c", None),
}
# What it says of a shot: when, in ms or s, and its score in hundredths.
SHOT = re.compile(r"^(?:shot at )?([\d.]+) (ms|s)[, ].*score (?:0\.)?(\d+)")


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_hears_what_the_firmware_hears(unpacked, heard, library, tmp_path, example):
    """On this machine: headers of the tests declare what it uses of its board, and a recording is played to it."""
    kind, source, board = EXAMPLES[example]
    if kind == "arduino":  # which includes Arduino.h in front of a sketch
        code = ["g++", "-std=gnu++14", "-include", "Arduino.h", "-x", "c++", unpacked[kind] / source]
    else:
        code = ["gcc", "-std=gnu11", unpacked[kind] / source]
    code += [BOARDS / kind / board] if board else []
    includes = ["-I", BOARDS / kind, "-I", unpacked[kind] / "src"]
    link = ["-x", "none", library, f"-Wl,-rpath,{library.parent}", "-o", tmp_path / "program"]
    run(*code, *STRICT, *includes, *link)
    with (heard[0] / "in.raw").open() as sound:
        said = run(tmp_path / "program", stdin=sound)
    shots = [match.groups() for match in map(SHOT.match, said.splitlines()) if match]
    wanted = [(onset, message.score / 65535) for message in heard[2] for onset in message.onsets]
    for (when, unit, score), (onset, wanted_score) in zip(shots, wanted, strict=True):
        assert when == (str(onset // 16) if unit == "ms" else f"{onset / 16000:.4f}")
        assert int(score) == pytest.approx(100 * wanted_score, abs=1)


@pytest.fixture(scope="module")
def ear(library):
    return Ear(library)


@pytest.fixture(scope="module")
def burst(heard):
    """Seconds with shots, and quiet behind them."""
    _, pcm, incidents = heard
    return pcm[max(0, incidents[0].onset - 32_000) : incidents[0].onset + 48_000].copy()


@settings(max_examples=15)
@given(pieces=st.lists(st.integers(0, 2048), min_size=1, max_size=9), written=st.booleans())
def test_it_tells_the_same_however_samples_come(ear, burst, pieces, written):
    wanted = list(ear.hear(burst))
    assert [row[0] for row in wanted][:1] == [OPENED] and wanted[-1][0] == CLOSED
    assert ear.begin()
    at = 0
    for size in cycle([*pieces, 100]):
        if at >= len(burst):
            break
        ear.give("write" if written else "hear", burst[at : at + size])
        ear.c.gunshot_listener_poll()
        at += size
    ear.c.gunshot_listener_end()
    assert ear.calls == wanted and ear.c.gunshot_listener_lost() == 0


def test_what_is_lost_is_counted_and_no_incident_goes_on_across_it(ear, burst):
    state, _, _, onset, decided, _ = ear.hear(burst)[0]
    cut = decided + 1600
    assert state == OPENED and ear.begin()
    ear.give("hear", burst[:cut])
    ear.give("write", np.zeros(2048, np.int16))
    ear.give("write", burst[:77])  # no room
    ear.c.gunshot_listener_poll()
    assert CLOSED not in [row[0] for row in ear.calls]  # the gap lies behind what was written
    ear.give("hear", burst)
    assert ear.c.gunshot_listener_lost() == 77
    (first, second), closed = ([row[:4] for row in ear.calls if row[0] == wanted] for wanted in (OPENED, CLOSED))
    assert first == (OPENED, 1, first[2], onset)
    assert second == (OPENED, 2, first[2], cut + 2048 + 77 + onset)
    order = [row[:2] for row in ear.calls]
    assert closed[0][1] == 1 and order.index((CLOSED, 1)) < order.index((OPENED, 2))


def test_the_end_hears_what_was_written_before_it(ear, burst):
    decided = ear.hear(burst)[0][4]
    wanted = list(ear.hear(burst[:decided]))
    assert [row[0] for row in wanted] == [OPENED, CLOSED] and ear.begin()
    ear.give("hear", burst[: decided - 1000])
    ear.give("write", burst[decided - 1000 : decided])
    assert ear.calls == []
    ear.c.gunshot_listener_end()
    assert ear.calls == wanted


@pytest.mark.slow
def test_a_damaged_model_hears_nothing(unpacked, burst, tmp_path):
    shutil.copytree(unpacked["cmake"] / "src", tmp_path / "src")
    network = tmp_path / "src/gunshot/network.c"
    text = network.read_text()
    digit = re.search(r"\.weights\d+ = \{\s*-?(\d)", text)
    network.write_text(text[: digit.start(1)] + str((int(digit[1]) + 1) % 10) + text[digit.end(1) :])
    run("gcc", "-O1", "-fPIC", "-shared", "-Wl,-Bsymbolic", "-w", *sorted((tmp_path / "src").rglob("*.c")), "-o",
        tmp_path / "damaged.so", "-lm")  # fmt: skip
    ear = Ear(tmp_path / "damaged.so")
    assert not ear.begin()
    ear.give("hear", burst)
    ear.c.gunshot_listener_end()
    assert ear.calls == []


def test_arduino_s_properties_keep_its_specification(unpacked):
    lines = (unpacked["arduino"] / "library.properties").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines)
    # All that it asks for but url: the project has none, and the README says so.
    asked = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "architectures"}
    assert asked | {"includes", "dot_a_linkage"} == set(fields) and all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][\w .-]{0,62}", fields["name"]) and "arduino" not in fields["name"].lower()
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"]) and fields["category"] == "Signal Input/Output"
    assert not fields["paragraph"].startswith(fields["sentence"])
    assert (unpacked["arduino"] / "src" / fields["includes"]).is_file()
    sketches = list((unpacked["arduino"] / "examples").glob("*/*"))
    assert sketches and all(path.name == f"{path.parent.name}.ino" for path in sketches)


def test_zephyr_s_module_names_what_is_there(unpacked):
    folder = unpacked["zephyr"]
    module = yaml.safe_load((folder / "zephyr/module.yml").read_text())
    assert set(module) == {"name", "build", "samples"} and set(module["build"]) == {"cmake", "kconfig"}
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    (option,) = re.findall(r"(?m)^config (\w+)$", (folder / module["build"]["kconfig"]).read_text())
    assert f"if(CONFIG_{option})" in (folder / "zephyr/CMakeLists.txt").read_text()
    (sample,) = (folder / module["samples"][0]).glob("*/sample.yaml")
    options = (sample.parent / "prj.conf").read_text().splitlines()
    assert f"CONFIG_{option}=y" in options and "CONFIG_MAIN_STACK_SIZE=8192" in options
    (test,) = yaml.safe_load(sample.read_text())["tests"].values()
    board = test["platform_allow"].replace("/", "_")
    assert (sample.parent / f"boards/{board}.conf").is_file()


@pytest.mark.slow
def test_espressif_s_own_tool_accepts_the_component(unpacked, tmp_path):
    """And refuses one that is wrong, or this could not fail."""
    manifest = unpacked["esp-idf"] / "idf_component.yml"
    lint = [Path(sys.executable).with_name("compote"), "manifest", "lint"]
    assert run(*lint, manifest.parent) == ""
    (tmp_path / manifest.name).write_text(re.sub("version: .*", "version: one", manifest.read_text()))
    assert subprocess.run([*map(str, lint), str(tmp_path)], capture_output=True).returncode == 1
    example = yaml.safe_load(manifest.read_text())["examples"][0]["path"]
    text = (manifest.parent / example / "CMakeLists.txt").read_text()
    back = re.search(r"EXTRA_COMPONENT_DIRS \$\{CMAKE_CURRENT_LIST_DIR\}/(\S+)\)", text)[1]
    assert (manifest.parent / example / back).resolve() == manifest.parent.resolve()


def test_a_promoted_version_is_packed_from_its_own_folder(project, monkeypatch):
    """Its number, its card, what was generated for it; without --version it is the one in production."""
    folder = project / "models-promoted" / "v2.1.0"
    shutil.copytree(FIRMWARE / "generated", folder / "firmware")
    shutil.copy(REPO / "models/quantized/model.tflite", folder)
    (folder / "card.md").write_text("# The card of v2.1.0\n")
    asked = []
    monkeypatch.setattr(bundle, "export", lambda version: asked.append(version) or folder)
    monkeypatch.setattr(registry, "champion", lambda entries: {"version": "v2.1.0"})
    path = project / gunshot("export", "cmake")
    assert path.name == "gunshot-cmake-2.1.0.zip"
    assert gunshot("export", "esp-idf", "there", "--version", "v2.1.0") == "there/gunshot-esp-idf-2.1.0.zip"
    assert asked == [None, "v2.1.0"]
    archive = zipfile.ZipFile(path)
    assert archive.read("gunshot/CARD.md") == b"# The card of v2.1.0\n"
    assert b'GUNSHOT_LISTENER_VERSION "2.1.0"' in archive.read("gunshot/src/gunshot_version.h")
    assert b"VERSION 2.1.0" in archive.read("gunshot/CMakeLists.txt")


def test_what_was_generated_otherwise_is_refused(tmp_path):
    """Of another model, by another version of the program, or not at all; and a kind that there is not."""
    shutil.copytree(FIRMWARE / "generated", tmp_path / "generated")
    stated = {
        "firmware": FIRMWARE, "generated": tmp_path / "generated", "version": "1.0.0", "card": "",
        "licence": REPO / "LICENSE",
    }  # fmt: skip
    (tmp_path / "model.tflite").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"generated: must be of .*model\.tflite: make it with `dvc repro export`"):
        packages.package("cmake", model=tmp_path / "model.tflite", **stated)
    constants = tmp_path / "generated/constants.h"
    constants.write_text(constants.read_text().replace("GUNSHOT_ONSET_LATER", "GUNSHOT_ONSET_SOONER"))
    with pytest.raises(ValueError, match=r"lacks GUNSHOT_ONSET_LATER, which firmware/src asks for.*check its commit"):
        packages.package("cmake", model=REPO / "models/quantized/model.tflite", **stated)
    constants.unlink()
    with pytest.raises(ValueError, match=r"constants\.h: no such file; `dvc repro export`"):
        packages.package("cmake", model=REPO / "models/quantized/model.tflite", **stated)
    with pytest.raises(ValueError, match="kind='pip' must be one of arduino, zephyr, esp-idf, cmake"):
        packages.package("pip", model=tmp_path / "model.tflite", **stated)
