"""An RTSP server that lets in who knows a password (Digest, RFC 2617): python rtsp_server.py FOLDER PORT USER PASSWORD.

The package's own command knows no passwords, and listens on a second port that cannot be chosen.
"""

import asyncio
import hashlib
import sys
from urllib.request import parse_http_list, parse_keqv_list

from aio_rtsp_toolkit import server
from aio_rtsp_toolkit.server_session import RtspServerSession

NONCE = "4711"


def md5(*texts: str) -> str:
    return hashlib.md5(":".join(texts).encode()).hexdigest()


def guard(user: str, password: str) -> None:
    """Let the server describe its films to a person alone."""
    describe = RtspServerSession._handle_describe

    async def guarded(self, uri: str, headers: dict[str, str]) -> None:
        said = parse_keqv_list(parse_http_list(headers.get("authorization", "").removeprefix("Digest ")))
        response = md5(md5(user, "camera", password), NONCE, md5("DESCRIBE", said.get("uri", "")))
        if said.get("response") == response:
            return await describe(self, uri, headers)
        challenge = {"WWW-Authenticate": f'Digest realm="camera", nonce="{NONCE}"'}
        return await self._send_response(headers, 401, "Unauthorized", challenge)

    RtspServerSession._handle_describe = guarded


if __name__ == "__main__":
    folder, port, *who = sys.argv[1:]
    guard(*who)
    asyncio.run(server.serve(folder, host="127.0.0.1", port=int(port)))
