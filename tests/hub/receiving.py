"""HTTP servers on loopback that take what a hub sends."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer


class Handler(BaseHTTPRequestHandler):
    """Reads what comes and prints nothing; a test's own says in `take` what becomes of it."""

    def do_POST(self):
        self.take(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def receiving(handler: type[Handler], port: int = 0) -> Iterator[str]:
    """Run a server; its host and port, as an address has them."""
    with HTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
