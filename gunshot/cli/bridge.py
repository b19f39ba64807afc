"""gunshot device bridge: a microcontroller on a serial line as a device of a hub."""

import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

import typer

from gunshot.cli.app import device
from gunshot.cli.options import show_log


@device.command()
def bridge(
    folder: Annotated[Path, typer.Argument(help="The device's folder, of `gunshot hub enrol`.")],
    serial: Annotated[str, typer.Argument(help="The line, best by its lasting name: /dev/serial/by-id/...")],
    baud: Annotated[int, typer.Option(help="That the board sends with.", min=1)] = 1_000_000,
    image: Annotated[
        Path | None,
        typer.Option(help="For the board, and IMAGE.manifest too. Default: roll-outs.", exists=True, dir_okay=False),
    ] = None,
) -> None:
    """Pass a microcontroller's messages on to the hub; Ctrl-C ends it.

    The hub knows the board by this folder's name and number, whatever number the board has. A line that goes away is
    opened again when it comes back. Messages wait in the folder until the hub has acknowledged them. A `camera: rtsp://...`
    in its device.yaml is opened where the hub orders its video, and never otherwise.

    Where a hub rolls out an image for `board: CLASS`, which its device.yaml has, signed by an operator whose key is in
    the folder's operators/, it goes to the board, which looks at it too and runs it on trial, until the hub says that
    it is kept, or taken back. With --image that file goes there instead, and is kept once the board sends a message.
    """
    from gunshot.base import params
    from gunshot.device import bridge as bridging
    from gunshot.device import line, link, outbox, speech
    from gunshot.device.answers import Answers
    from gunshot.device.board_image import Delivery
    from gunshot.device.board_slots import BoardSlots
    from gunshot.device.installer import Installer
    from gunshot.device.place import Place

    show_log()
    p, place = params.load("audio", "firmware"), Place.load(folder)
    by_hand = image and Delivery.load(image)
    slots = BoardSlots(folder, place.board) if place.board and not by_hand else None
    installer = Installer(folder, place.name, slots, None) if slots else None
    with closing(outbox.Outbox(folder)) as waiting:
        one = bridging.Bridge(
            folder, place, waiting, sr=p.audio.sr, heartbeat_s=p.firmware.heartbeat_s,
            images=by_hand or slots, installer=installer,
            link=lambda birth, answers: link.Link(
                folder, place.host, place.port, waiting, birth, answers, installer=installer
            ),
            answers=lambda birth: Answers(folder, birth, ring=None, gate=speech.gate, camera=place.camera),  # no sound
        )  # fmt: skip
        with closing(one), closing(line.Line(serial, baud)) as wire, suppress(KeyboardInterrupt):
            bridging.run(wire, one)
        if left := len(waiting):
            print(f"warning: {left} messages wait in {folder}, for the next start", file=sys.stderr)
