"""The console as a server: TLS by the hub's authority, headers, templates, and the process that runs it."""

import errno
import secrets
import socket
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sql
import uvicorn
from cryptography import x509
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.templating import Jinja2Templates
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gunshot.hub import certificates, database, folder
from gunshot.hub.console import escalation, fleet, hearing, outgoing, people, times
from gunshot.hub.console.noise import Noise
from gunshot.hub.console.routes import LoggedOutError, Setting, router

HERE = Path(__file__).parent
MOST_BYTES = 65536  # of what a browser sends
RENEW = timedelta(days=60)  # before a certificate ends
HEARTBEATS = 2.5  # without any, a device is not there
MOST_CONNECTIONS = 100  # of one address at once: a browser has six, and one more for each page that is open
LAST_S = 5  # that requests get when the console ends; streams of events end by themselves


class Secured:
    """Gives each response of an app the headers that keep what is not the console's own out of its pages."""

    def __init__(self, app: ASGIApp, *, tiles: str | None):
        self.app = app
        images = f"'self' data: {'/'.join(tiles.split('/')[:3]).replace('{s}', '*')}" if tiles else "'self'"
        self.headers = {
            "Content-Security-Policy": f"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
            f"img-src {images}; media-src 'self' blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Opener-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on a request, and its response with more headers."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self.headers)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, sent)


def console(place: Path, engine: sql.Engine, *, host: str, sr: int, heartbeat_s: float) -> FastAPI:
    """Return the console of a hub's folder and its database.

    `host` is the name by which browsers reach it, `sr` of the samples that messages count, Hz, and `heartbeat_s` what a
    device leaves between two heartbeats.
    """
    settings = folder.load(place)
    key = place / "console" / "session.key"
    certificates.keep(key, secrets.token_hex(32).encode())
    app = FastAPI(openapi_url=None)
    living = timedelta(seconds=HEARTBEATS * heartbeat_s)
    app.state.setting = Setting(place, engine, _templates(settings), sr, living, Noise(fleet.HOURS), set())
    app.state.ends = lambda: False
    app.state.feed = settings.feed
    app.include_router(router)
    app.include_router(hearing.router)
    app.include_router(outgoing.router)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.add_exception_handler(LoggedOutError, lambda *_: RedirectResponse("/login", 303))
    for kind in (403, 404, 405, 409, 410, 413, 422, 500, RequestValidationError):
        app.add_exception_handler(kind, _fault)
    app.add_middleware(
        SessionMiddleware, secret_key=key.read_text(), session_cookie="__Host-console", same_site="strict",
        max_age=int(people.LASTS.total_seconds()), https_only=True,
    )  # fmt: skip
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MOST_BYTES)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[host], www_redirect=False)
    app.add_middleware(Secured, tiles=settings.tiles and settings.tiles.url)
    return app


def _templates(settings: folder.Settings) -> Jinja2Templates:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["span"] = times.span
    environment.globals["tiles"] = settings.tiles and settings.tiles.model_dump()
    return Jinja2Templates(env=environment)


def _fault(request: Request, error: Exception) -> Response:
    status, text = getattr(error, "status_code", 500), getattr(error, "detail", None)
    if isinstance(error, RequestValidationError):
        status, text = 422, "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
    elif status == 500:  # its traceback is in the log
        text = "the console failed; its log says why"
    templates = request.app.state.setting.templates
    return templates.TemplateResponse(
        request, "fault.html.j2", {"status": status, "text": text or "not understood"}, status_code=status
    )


def serve(place: Path, *, host: str, port: int, sr: int, heartbeat_s: float) -> None:
    """Serve the console until interrupted, and print its address; see `console`. Port 0 takes a free one.

    Only for `host` localhost is it not reached from elsewhere.

    Raises
    ------
    ValueError
        The port is in use, the folder is no hub's, or an address of the escalation is none.
    ConnectionError
        The database cannot be reached.
    """
    settings, own = folder.load(place), place / "console"
    escalation.check(settings.escalation)
    certify(place, own, host)
    with database.opened(settings.database) as engine, listening(host, port) as listener:
        shown = console(place, engine, host=host, sr=sr, heartbeat_s=heartbeat_s)
        server = uvicorn.Server(
            uvicorn.Config(
                shown, ssl_certfile=own / "cert.pem", ssl_keyfile=own / "key.pem", server_header=False,
                proxy_headers=False, access_log=False, log_level="warning", timeout_graceful_shutdown=LAST_S,
                http="h11", ws="none", loop="asyncio",  # httptools reads headers without end, uvloop asks no Listener
            )
        )  # fmt: skip
        shown.state.ends = lambda: server.should_exit
        page, stop = f"https://{host}:{listener.getsockname()[1]}", threading.Event()
        caller = threading.Thread(target=escalation.keep, args=(engine, settings.escalation, page, stop))
        caller.start()
        print(page, flush=True)
        try:
            server.run(sockets=[listener])
        finally:
            stop.set()
            caller.join()


def certify(place: Path, own: Path, host: str) -> None:
    """Make the console's certificate in the folder `own`, anew where it is of another host or ends soon."""
    file = own / "cert.pem"
    if file.exists():
        now = x509.load_pem_x509_certificate(file.read_bytes())
        names = now.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = [str(name.value) for name in names]
        if hosts != [host] or now.not_valid_after_utc < datetime.now(UTC) + RENEW:
            file.unlink()
    if not file.exists():
        certificates.issue(place / "authority", own, "console", host=host, days=certificates.BROWSER_DAYS)


class Listener(socket.socket):
    """A socket that takes MOST_CONNECTIONS of one address at once, and closes what comes beyond.

    Or whoever opens some, and says nothing, leaves no file for the pages of others, and for who is to be called.
    """

    def __init__(self, bound: socket.socket):
        super().__init__(fileno=bound.detach())
        self._open: dict[str, list[socket.socket]] = {}

    def accept(self) -> tuple[socket.socket, tuple]:
        """Return a connection and its address; ConnectionAbortedError where that one has too many."""
        connection, address = super().accept()
        self._open = {
            name: still for name, ones in self._open.items() if (still := [s for s in ones if s.fileno() >= 0])
        }
        ones = self._open.setdefault(address[0], [])
        if len(ones) >= MOST_CONNECTIONS:
            connection.close()
            raise ConnectionAbortedError
        ones.append(connection)
        return connection, address


def listening(host: str, port: int) -> Listener:
    """Return a socket that waits for browsers; for localhost of this machine alone. ValueError: the port is in use."""
    try:
        if host == "localhost":
            return Listener(socket.create_server((host, port)))
        if socket.has_dualstack_ipv6():
            return Listener(socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True))
        return Listener(socket.create_server(("", port)))
    except OSError as e:
        if e.errno != errno.EADDRINUSE:
            raise
        raise ValueError(f"port={port} is in use; choose another with --port, 0 takes a free one") from None
