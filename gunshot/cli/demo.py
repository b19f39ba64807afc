"""gunshot demo: the firmware in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import app, export
from gunshot.cli.options import given


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.", min=0, max=65535)] = 5007,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Try the detector in the browser: with its microphone, a recording or a simulated shot, on this machine alone.

    The page runs the firmware's own C, as WebAssembly, which is built first where anything changed. Nothing that it
    hears is stored or sent. Ctrl-C ends it; `gunshot export demo` writes the same page for a web server.
    """
    import tempfile
    from contextlib import suppress

    from gunshot.pages.demo import server

    with tempfile.TemporaryDirectory(prefix="gunshot-") as folder:
        _write(Path(folder), offline=False)  # or this port would show it for ever, whoever has the port next
        with suppress(KeyboardInterrupt):
            server.serve(Path(folder), port=port, show=browser)


@export.command("demo")
def export_demo(
    out: Annotated[Path, typer.Argument(parser=given, help="The folder to write to.")] = Path("demo"),
) -> None:
    """Write the page of `gunshot demo` to a folder of files, for any web server; phones ask for https."""
    _write(out, offline=True)
    print(f"see {out / 'index.html'}; a browser opens it from a web server alone")


def _write(out: Path, *, offline: bool) -> None:
    """Build the firmware for the web, and write the page with the int8 model of the pipeline."""
    from gunshot.base import params, pipeline
    from gunshot.device import emulator, parity
    from gunshot.models.model import load_model
    from gunshot.pages.demo import folder

    p = params.load("audio", "chunks", "context", "features", "detector", "firmware")
    model = load_model(pipeline.models()["int8"])
    folder.check(pipeline.output("export") / "constants.h", model)
    folder.write(out, emulator.build("web") / parity.MODULE, model, p, offline=offline)
