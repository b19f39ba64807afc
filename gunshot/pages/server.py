"""The server of the page of gunshot annotate."""

import errno
import os
import signal
import tempfile
from pathlib import Path

import panel as pn
from tornado.web import HTTPError, StaticFileHandler

from gunshot.pages.annotate import Page
from gunshot.pages.editing import Desk
from gunshot.pages.sounds import Sounds


class SoundHandler(StaticFileHandler):
    """Hands out the folder of `Sounds`, by the names that it gives; links to recordings lead out of it."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str:
        """Return the path; 404 where it is gone."""
        if not os.path.isfile(absolute_path):
            raise HTTPError(404)
        return absolute_path

    @classmethod
    def get_content_version(cls, abspath: str) -> str:
        """Return the name, which `Sounds` makes of a file's time and size; hashing hours of sound would block."""
        return Path(abspath).stem


def serve(desk: Desk, out: Path, *, port: int, show: bool) -> None:
    """Serve the page to this machine until interrupted; then no copy of a recording stays behind.

    Raises
    ------
    ValueError
        The port is in use.
    """
    pn.extension("tabulator", "filedropper")
    # As Ctrl-C, on which Panel ends its loop: an exception raised in the midst of a callback may go lost there.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="gunshot-") as folder:
        sounds = Sounds(desk.catalogue.recordings, Path(folder), sr=desk.sr)
        try:
            pn.serve(
                {"/": lambda: Page(desk, sounds, out).layout()}, title="gunshot annotate",
                address="localhost", port=port, show=show,
                extra_patterns=[(r"/sound/([0-9a-f]+\.wav)", SoundHandler, {"path": folder})],
            )  # fmt: skip
        except OSError as e:
            if e.errno != errno.EADDRINUSE:
                raise
            raise ValueError(f"port={port} is in use; choose another with --port, 0 takes a free one") from None
