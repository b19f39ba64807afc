"""gunshot export: chunks and tags for other tools, promoted models, packages for boards, and images for devices."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import export
from gunshot.cli.options import RecordingsOption, counted, given, print_names


class Tool(StrEnum):
    """Other tools' formats of tags."""

    audacity = "audacity"
    label_studio = "label-studio"


@export.command()
def chunks(
    out: Annotated[Path, typer.Argument(parser=given, help="The folder to write to.")] = Path("chunks"),
) -> None:
    """Write each chunk as a wav of its own: OUT/SIDE/CLASS/LABEL/RECORDING/START.wav, its start in samples."""
    import soundfile as sf
    from tqdm import tqdm

    from gunshot.base import params, pipeline, tables
    from gunshot.dataset import chunks as library

    p = params.load("audio")
    folder = pipeline.output("chunk")
    table = tables.read(folder / "chunks.csv", tables.CHUNK)
    side = tables.read(pipeline.output("split"), tables.SPLIT).set_index("recording_group")["side"]
    for _, rows in tqdm(table.groupby("path", sort=False), unit="recording"):
        pcm = library.load(folder, rows, sr=p.audio.sr, chunk_length=p.audio.chunk_length)
        for row, chunk in zip(rows.to_dict("records"), pcm, strict=True):
            recording, start = row["chunk"].rsplit("#", 1)
            # A folder a recording, so that no two of any names share a file.
            parts = side[row["recording_group"]], row["class"], row["label"], recording.removesuffix(".wav")
            target = out.joinpath(*parts, f"{start}.wav")
            target.parent.mkdir(parents=True, exist_ok=True)
            sf.write(target, chunk, p.audio.sr, subtype="PCM_16")
    print(f"{counted(len(table), 'chunk')} in {out}")


@export.command("tags")
def export_tags(
    out: Annotated[Path, typer.Argument(parser=given, help="audacity: a folder; label-studio: a .json file.")],
    format: Annotated[Tool, typer.Option(help="Whose format.")] = Tool.audacity,
    recordings: RecordingsOption = None,
) -> None:
    """Write tags for Audacity or Label Studio.

    audacity: OUT/RECORDING.txt, a label track a recording, to be opened by File > Import > Labels; an automatic tag
    is labelled shot@CONFIDENCE. label-studio: one JSON of tasks; confirmed tags are annotations, automatic ones
    predictions with their score, and the audio is found where LOCAL_FILES_DOCUMENT_ROOT is the recordings' folder.

    `gunshot import tags` reads both again.
    """
    from gunshot.base import params, pipeline, tables
    from gunshot.base.files import atomic
    from gunshot.corpora.importing import NAME_MAX
    from gunshot.tags import catalogue, labeltracks

    sr, raw = params.load("audio").audio.sr, pipeline.raw()
    listed = catalogue.listed(recordings or raw, raw, pipeline.by_hand())
    tagged, bad = listed.read()
    shown = {key: tagged[key] for key in listed.recordings if key in tagged}
    if format == Tool.audacity:
        long = [key for key in shown if len(os.fsencode(f"{Path(key).name}.txt")) > NAME_MAX]
        print_names(
            "recording is left out: its name leaves no room for .txt",
            "recordings are left out: their names leave no room for .txt",
            long,
        )
        shown = {key: placed for key, placed in shown.items() if key not in long}
        for key, placed in shown.items():
            with atomic(out / f"{key}.txt") as part:
                part.write_text(labeltracks.audacity(placed, sr=sr), encoding="utf-8")
    elif out.suffix != ".json":
        raise ValueError(f"OUT={out} must end in .json")
    else:
        tables.write_json(out, labeltracks.label_studio(shown, sr=sr))
    print(f"{counted(sum(map(len, shown.values())), 'tag')} of {counted(len(shown), 'recording')} in {out}")
    untagged = [key for key in listed.recordings if key not in tagged]
    print_names("recording has no tags and is left out", "recordings have no tags and are left out", untagged)
    print_names("line of tag files is no use", "lines of tag files are no use", bad)
    if not listed.imported:
        gone = sorted(tagged.keys() - listed.recordings.keys())
        print_names(
            "line is left out, its recording is not there", "lines are left out, their recordings are not there", gone
        )


@export.command()
def promoted(version: Annotated[str | None, typer.Argument(help="Default: the one in production.")] = None) -> None:
    """Write all of a promoted model to models/promoted/VERSION/: C, golden vectors, model card, hashes."""
    from gunshot.promotion import bundle

    print(bundle.export(version))


@export.command()
def ota(
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A firmware image with the champion.")],
    device: Annotated[str, typer.Option(help="The class of devices that it is for.")],
) -> None:
    """Sign an image for devices: IMAGE.manifest, which firmware/src/ota.c checks."""
    from gunshot.base.files import atomic
    from gunshot.promotion import ota as library

    out = image.with_name(f"{image.name}.manifest")
    with atomic(out) as part:
        part.write_bytes(library.manifest(image.read_bytes(), device=device))
    print(out)


@export.command()
def image(
    version: Annotated[str | None, typer.Argument(help="Default, and else: the one in production.")] = None,
) -> None:
    """Sign the model in production for `gunshot hub rollout`: models/promoted/VERSION.image, and .image.manifest.

    It needs the operator's key. A version of before is put into production first, with `gunshot rollback`: so it gets a
    larger number, and devices take it.
    """
    from gunshot.promotion import image as library

    for file in library.export(version):
        print(file)


PackageArgument = Annotated[Path, typer.Argument(parser=given, help="The folder to write the zip to.")]
VersionOption = Annotated[
    str | None,
    typer.Option(
        "--version",
        help="A promoted one. Default: the one in production; before the first promotion, the pipeline's own model, as "
        "0.0.0.",
    ),
]


@export.command()
def arduino(out: PackageArgument = Path("packages"), version: VersionOption = None) -> None:
    """Write the detector as an Arduino library: OUT/gunshot-arduino-VERSION.zip.

    In the IDE: Sketch > Include Library > Add .ZIP Library. Examples: the microphone of a Nano 33 BLE Sense, and a
    buffer of samples for any other. Never run on hardware by us; DOC/packages.md says what was tried.
    """
    _package("arduino", out, version)


@export.command()
def zephyr(out: PackageArgument = Path("packages"), version: VersionOption = None) -> None:
    """Write the detector as a Zephyr module: OUT/gunshot-zephyr-VERSION.zip.

    Unpacked, it is named to a build by -DZEPHYR_EXTRA_MODULES and switched on by CONFIG_GUNSHOT=y. Sample: a digital
    microphone by the DMIC API. Never built with Zephyr or run on hardware by us; DOC/packages.md says what was tried.
    """
    _package("zephyr", out, version)


@export.command("esp-idf")
def esp_idf(out: PackageArgument = Path("packages"), version: VersionOption = None) -> None:
    """Write the detector as an ESP-IDF component: OUT/gunshot-esp-idf-VERSION.zip.

    Unpacked into a project's components/. Example: an I2S microphone. Never built with ESP-IDF or run on hardware by
    us; DOC/packages.md says what was tried.
    """
    _package("esp-idf", out, version)


@export.command("cmake")
def cmake_package(out: PackageArgument = Path("packages"), version: VersionOption = None) -> None:
    """Write the detector as a CMake package: OUT/gunshot-cmake-VERSION.zip.

    Unpacked, built and installed, it is a header and a static library, which find_package(gunshot) gives to any C or
    C++ program, for this machine or by a cross compiler. Tested so on this machine and on a Cortex-M4 in QEMU.
    """
    _package("cmake", out, version)


def _package(kind: str, out: Path, version: str | None) -> None:
    """Write a package of the champion or of a version, with what it needs of third parties, and print its name."""
    import subprocess
    import sys

    from gunshot.cli.chosen import to_export
    from gunshot.export import packages

    firmware = Path("firmware")
    subprocess.run([sys.executable, firmware / "third_party/fetch.py"], check=True)
    chosen = to_export(version)
    number = chosen.version or packages.UNPROMOTED
    files = packages.package(
        kind, firmware=firmware, generated=chosen.generated, model=chosen.model, version=number, card=chosen.card,
        licence=Path("LICENSE"),
    )  # fmt: skip
    target = out / f"gunshot-{kind}-{number}.zip"
    packages.write(target, files)
    print(target)
