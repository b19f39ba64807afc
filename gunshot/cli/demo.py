"""gunshot demo: the firmware in the browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gunshot.cli.app import app, export
from gunshot.cli.options import given

if TYPE_CHECKING:
    from gunshot.pages.demo.folder import Sections, Version

SitesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--site", parser=given, metavar="FILE",
        help="A site's profile, of `gunshot calibrate`, that may be chosen in the page; repeat for more.",
    ),
]  # fmt: skip
CandidateOption = Annotated[
    Path | None,
    typer.Option(
        "--candidate", parser=given, metavar="FOLDER",
        help="A candidate's folder, with its dossier: it and the champion hear the same, side by side.",
    ),
]  # fmt: skip


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)] = 5007,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    site: SitesOption = None,
    candidate: CandidateOption = None,
) -> None:
    """Try the detector in the browser: with its microphone, a recording or a simulated shot, on this machine alone.

    The page runs the firmware's own C, as WebAssembly, which is built first where anything changed. Nothing that it
    hears is stored or sent. Ctrl-C ends it; `gunshot export demo` writes the same page for a web server.
    """
    import tempfile
    from contextlib import suppress

    from gunshot.pages.demo import server

    with tempfile.TemporaryDirectory(prefix="gunshot-") as folder:
        # not kept offline, or this port would show it for ever, whoever has the port next
        _write(Path(folder), site or [], candidate, offline=False)
        with suppress(KeyboardInterrupt):
            server.serve(Path(folder), port=port, show=browser)


@export.command("demo")
def export_demo(
    out: Annotated[Path, typer.Argument(parser=given, help="The folder to write to.")] = Path("demo"),
    site: SitesOption = None,
    candidate: CandidateOption = None,
) -> None:
    """Write the page of `gunshot demo` to a folder of files, for any web server; phones ask for https."""
    _write(out, site or [], candidate, offline=True)
    print(f"see {out / 'index.html'}; a browser opens it from a web server alone")


def _write(out: Path, sites: list[Path], candidate: Path | None, *, offline: bool) -> None:
    """Build the firmware for the web, and write the page with the pipeline's int8 model, or with two versions."""
    import tempfile

    from gunshot.base import params
    from gunshot.pages.demo import folder

    if sites and candidate:
        raise ValueError("--site and --candidate contradict each other: a profile is for one model")
    p = params.load("audio", "chunks", "context", "features", "detector", "firmware", "promotion")
    with tempfile.TemporaryDirectory(prefix="gunshot-") as scratch:
        versions = _side_by_side(candidate, Path(scratch), p) if candidate else [_own(sites, p)]
        folder.write(out, versions, offline=offline)


def _own(sites: list[Path], p: "Sections") -> "Version":
    """Return the pipeline's own int8 model, with profiles of sites."""
    from gunshot.base import pipeline
    from gunshot.device import emulator, parity
    from gunshot.models.model import load_model
    from gunshot.pages.demo import folder
    from gunshot.site import profile

    model = load_model(pipeline.models()["int8"])
    folder.check(pipeline.output("export") / "constants.h", model)
    profiles = [profile.read(file, model, p) for file in sites]
    return folder.Version(emulator.build("web") / parity.MODULE, model, p, profiles=profiles)


def _side_by_side(candidate: Path, scratch: Path, p: "Sections") -> "list[Version]":
    """Return a candidate and, where there is one, the champion that its dossier compares it with."""
    from gunshot.base import tables
    from gunshot.device import emulator, parity
    from gunshot.models.model import load_model
    from gunshot.pages.demo import folder
    from gunshot.promotion import bundle, comparison, review

    compared = tables.read_json(candidate / review.GATES)
    models = {comparison.CANDIDATE: bundle.fetch(compared["candidate"], scratch / comparison.CANDIDATE)}
    if compared["champion"]:
        models[comparison.CHAMPION] = bundle.export(compared["champion"]) / "model.tflite"
    versions = []
    for name, path in models.items():
        generated = path.parent / "firmware"
        folder.check(generated / "constants.h", model := load_model(path))
        tree = emulator.with_generated(Path("firmware"), generated, scratch / "firmware" / name)
        own = comparison.own_params(comparison.contender(path), p)
        versions.append(folder.Version(emulator.build("web", firmware=tree) / parity.MODULE, model, own, name))
    return versions
