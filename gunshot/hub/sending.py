"""How alerts leave the hub by HTTP: to the address that a person wrote down, and no other."""

from collections.abc import Mapping

import requests

TIMEOUT_S = 10.0


class UnansweredError(Exception):
    """Nothing at an address answered; as text the kind of error, as the address may hold a password."""


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Send something; return the status of the answer, of which nothing else is read. UnansweredError where none came.

    No redirect is followed, no proxy of the environment asked and no `.netrc` read: each would carry an alert, or a
    password, to where nobody said.
    """
    try:
        with requests.Session() as session:
            session.trust_env = False
            options = {"timeout": TIMEOUT_S, "allow_redirects": False, "stream": True}
            with session.post(url, data=body, headers=headers, **options) as answer:
                return answer.status_code
    except (requests.RequestException, ValueError) as e:  # ValueError: a host that none can have is urllib3's own
        raise UnansweredError(type(e).__name__) from None
