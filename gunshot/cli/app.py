"""The command gunshot and its groups; the other modules here hang their commands into them."""

from typing import Annotated

import typer

SETTINGS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",  # a paragraph is wrapped as wide as the terminal is
    pretty_exceptions_enable=False,
    context_settings=SETTINGS,
    help="From a pile of wav files to a gunshot detector on a microcontroller.\n\n"
    "The pipeline itself is run by `dvc repro`; these commands bring recordings in and use the models that it made. "
    "Run them in the project's folder.",
)


def version_text() -> str:
    """Return the version of this package and of the Python that runs it."""
    import platform
    from importlib import metadata

    return f"gunshot {metadata.version('gunshot')}, Python {platform.python_version()}"


def _print_version(asked: bool) -> None:
    if asked:
        print(version_text())
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and exit.")
    ] = False,
) -> None:
    """Take the options of `gunshot` itself; its help is that of `app`."""


import_ = typer.Typer(
    no_args_is_help=True,
    context_settings=SETTINGS,
    help="Bring real recordings into data/raw, as 16 kHz mono int16, and tags into data/tags.",
)
export = typer.Typer(
    no_args_is_help=True,
    context_settings=SETTINGS,
    help="Write chunks and tags for other tools, a promoted model whole, and the detector for boards, for programs of "
    "your own (DOC/packages.md) and for browsers.",
)
firmware = typer.Typer(no_args_is_help=True, context_settings=SETTINGS, help="The detector as a device runs it.")
hub = typer.Typer(no_args_is_help=True, context_settings=SETTINGS, help="The main system: it stores what devices send.")
device = typer.Typer(
    no_args_is_help=True,
    context_settings=SETTINGS,
    help="A device of a hub: this machine and a microphone, or a board.",
)
rollout = typer.Typer(
    no_args_is_help=True,
    context_settings=SETTINGS,
    help="A promoted model to the devices of a hub: to a canary first, then to shares of them, each step watched.",
)
models = typer.Typer(
    invoke_without_command=True, context_settings=SETTINGS, help="What is and was in production, and proof of it."
)
app.add_typer(import_, name="import")
app.add_typer(export, name="export")
app.add_typer(firmware, name="firmware")
app.add_typer(models, name="models")
app.add_typer(hub, name="hub")
app.add_typer(device, name="device")
hub.add_typer(rollout, name="rollout")
