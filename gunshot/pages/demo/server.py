"""The server of gunshot demo: files of a folder, to this machine alone, that may reach no other place."""

import errno
import functools
import webbrowser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gunshot.pages.demo.folder import POLICY


class Handler(SimpleHTTPRequestHandler):
    """Hands out files, by GET and HEAD, and logs no request."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {  # whatever the machine's own table says
        ".wasm": "application/wasm", ".js": "text/javascript", ".flac": "audio/flac",
        ".webmanifest": "application/manifest+json",
    }  # fmt: skip

    def end_headers(self) -> None:
        """Add what binds the page, and its workers, to this place."""
        self.send_header("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def serve(folder: Path, *, port: int, show: bool) -> None:
    """Serve a folder to this machine until interrupted; prints the address.

    Raises
    ------
    ValueError
        The port is in use.
    """
    try:
        server = ThreadingHTTPServer(("localhost", port), functools.partial(Handler, directory=str(folder)))
    except OSError as e:
        if e.errno != errno.EADDRINUSE:
            raise
        raise ValueError(f"port={port} is in use; choose another with --port, 0 takes a free one") from None
    with server:
        url = f"http://localhost:{server.server_port}/"
        print(f"{url}  (Ctrl-C ends it)", flush=True)
        if show:
            webbrowser.open(url)
        server.serve_forever()
