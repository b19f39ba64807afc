"""Devices that are revoked or renewed, at a real Mosquitto: who is out is out at once, and what it told stays."""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gunshot.device import topics
from gunshot.hub import database, folder, intake, orders, revocation, watch
from gunshot.signing import keys
from tests.firmware.driven import shots
from tests.hub.network import NAME, NUMBER, Network, Sender, until
from tests.hub.test_watch import lives

ONE = shots([0.5], 2.5, seed=2)
AT_ONCE_S = 5.0
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def network(tmp_path) -> Network:
    return Network(tmp_path / "hub")


@contextlib.contextmanager
def sending(place: Path) -> Iterator[Sender]:
    """A device, which may have no connection in the end."""
    sender = Sender(place)
    sender.link._client.reconnect_delay_set(1, 1)
    with contextlib.closing(sender):
        yield sender


def is_connected(sender: Sender) -> bool:
    return sender.link._client.is_connected()


@pytest.mark.slow
def test_a_revoked_device_is_out_at_once_and_its_alerts_stay(network):
    with network.broker():
        with network.hub(), sending(network.device) as sender:
            sender.hear(ONE)
            sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
            payloads, stolen = network.payloads(), {path: path.read_bytes() for path in network.device.glob("*.pem")}
            begun = time.monotonic()
            revocation.revoke(network.folder, NAME, now=datetime.now(UTC))
            until(lambda: not is_connected(sender), "its connection ends", AT_ONCE_S)
            assert time.monotonic() - begun < AT_ONCE_S
            assert {path.name for path in network.device.glob("*.pem")} == {"ca.pem", "order.pem"}
            for path, content in stolen.items():
                path.write_bytes(content)
            log = len(network.log.read_text())
            until(lambda: "certificate verify failed" in network.log.read_text()[log:], network.log.read_text)
            assert not is_connected(sender)
            (row,) = network.rows(database.SESSION)
            assert row["session"] == 1 and not row["online"]
            for name in ("cert.pem", "key.pem"):
                (network.device / name).unlink()
            folder.enrol(network.folder, NAME, NUMBER)
            assert (network.device / "key.pem").read_bytes() != stolen[network.device / "key.pem"]
        assert network.retained() == {} and network.rows(database.REFUSED) == []
        (network.device / "outbox.sqlite").rename(network.folder / "outbox.stolen")  # another machine has the name now
        with network.hub(), sending(network.device) as sender:
            assert sender.birth.session == 2
            sender.hear(ONE)
            sender.pump_until(lambda: not len(sender.outbox), "it is let in again")
    assert network.payloads()[: len(payloads)] == payloads and len(network.payloads()) == 2 * len(payloads)
    assert network.rows(database.DEVICE)[0]["revoked_at"] is None


@pytest.mark.slow
def test_a_renewed_device_has_one_certificate(network):
    """What it hears while its new files are on their way waits."""
    with network.broker():
        with sending(network.device) as sender:
            until(lambda: is_connected(sender), "it is connected")
            folder.enrol(network.folder, NAME, NUMBER, renew=True)
            revocation.enforce(network.folder, NAME)
            until(lambda: not is_connected(sender), "its connection ends", AT_ONCE_S)
            log = len(network.log.read_text())
            until(lambda: "certificate verify failed" in network.log.read_text()[log:], network.log.read_text)
        with sending(network.device) as sender:  # the new files are there
            until(lambda: is_connected(sender), "it is connected again")
    assert network.rows(database.DEVICE)[0]["revoked_at"] is None


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_no_tls_session_of_before_brings_a_revoked_device_back(network, version):
    """Until then one is resumed, and its certificate is not looked at again."""
    client = ssl.create_default_context(cafile=network.device / "ca.pem")
    client.load_cert_chain(network.device / "cert.pem", network.device / "key.pem")
    client.minimum_version = client.maximum_version = version

    def connected(session: ssl.SSLSession | None = None) -> tuple[bytes, bool, ssl.SSLSession]:
        """The broker's answer to a CONNECT, whether the session was resumed, and one that can be."""
        plain = socket.create_connection(("localhost", network.port), 5)
        with plain, client.wrap_socket(plain, server_hostname="localhost", session=session) as secured:
            secured.sendall(b"\x10\x10\0\4MQTT\4\2\0\x3c\0\4" + NAME.encode())
            return secured.recv(4), secured.session_reused, secured.session

    with network.broker():
        answer, _, session = connected()
        again, is_resumed, session = connected(session)
        assert answer == again == b"\x20\2\0\0" and is_resumed
        revocation.revoke(network.folder, NAME, now=NOW)
        for one in (session, None):
            before = len(network.log.read_text())
            with pytest.raises(OSError):  # of 1.3 a client sees an alert, or that the connection has ended
                connected(one)
            until(
                lambda before=before: "certificate verify failed" in network.log.read_text()[before:], "it is refused"
            )


@pytest.mark.slow
def test_a_client_of_the_hub_s_own_is_revoked_too_and_init_gives_it_a_new_certificate(network):
    place = network.folder / topics.WATCH
    with network.broker(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch, "PATIENCE_S", 1.0)
        stolen = {name: (place / name).read_bytes() for name in ("cert.pem", "key.pem")}
        with network.hub():
            until(lambda: lives(network), "the watch hears the hub")
            revocation.revoke(network.folder, topics.WATCH, now=NOW)
            assert not (place / "cert.pem").exists() and not (place / "key.pem").exists()
            for name, content in stolen.items():
                (place / name).write_bytes(content)
            assert not lives(network) and "certificate verify failed" in network.log.read_text()
            for name in stolen:
                (place / name).unlink()
            folder.init(network.folder, host="localhost", port=network.port, url=None)
            until(lambda: lives(network), "it has a new one")


def test_a_client_of_which_no_certificate_is_left_is_not_said_to_be_out(network):
    """Of a hub of before, of which its folder was moved to the machine that watches."""
    for file in (*folder.copies(network.folder).glob("*.pem"), network.folder / topics.WATCH / "cert.pem"):
        file.unlink()
    before = len(network.rows(database.AUDIT)), folder.revoked(network.folder).read_bytes()
    with pytest.raises(ValueError, match=r"watch must have a certificate in .*/watch or .*; without, only a new auth"):
        revocation.revoke(network.folder, topics.WATCH, now=NOW)
    assert (len(network.rows(database.AUDIT)), folder.revoked(network.folder).read_bytes()) == before


@pytest.mark.slow
def test_what_is_revoked_is_written_down_before_the_broker_is_asked(network, monkeypatch):
    """A broker that is away, or that has no list, is told of; nothing of the device is taken in all the same."""
    with pytest.raises(ConnectionError, match=f"localhost:{network.port} does not answer; the certificate is revoked"):
        revocation.revoke(network.folder, NAME, now=NOW)
    (row,) = network.rows(database.DEVICE)
    assert row["revoked_at"].replace(tzinfo=UTC) == NOW
    monkeypatch.setattr(revocation, "PATIENCE_S", 1.0)
    conf = network.folder / "mosquitto.conf"  # of a hub of before
    conf.write_text("".join(line for line in conf.open() if not line.startswith(("crlfile", "pid_file"))))
    with network.broker(), pytest.raises(ConnectionError, match=r"lets in who is revoked: .*/revoked\.pem"):
        revocation.revoke(network.folder, NAME, now=NOW + timedelta(days=1))
    assert network.rows(database.DEVICE) == [row]
    who = {"reason": "a test", "person": "tester", "now": NOW}
    with database.opened(network.url) as engine, engine.begin() as connection:
        key, span = keys.load(folder.order_key(network.folder)), orders.Span(0, 16_000, 1.0, 1)
        with pytest.raises(ValueError, match="device=roof must be enrolled"):
            orders.ask(connection, key, NAME, span, **who)
        assert intake.alert(connection, NAME, b"", now=NOW, sr=16_000) is None
    (refused,) = network.rows(database.REFUSED)
    assert refused["reason"] == "device=roof must be enrolled; it is revoked since 2026-03-01 00:00:00 UTC"


def test_the_list_is_the_authoritys_and_never_ends_before_it(network):
    """Each certificate is on it once, also where several were given out; those of others are not."""
    other = folder.enrol(network.folder, "cellar", NUMBER + 1)
    numbers = [x509.load_pem_x509_certificate((network.device / "cert.pem").read_bytes()).serial_number]
    (network.device / "cert.pem").unlink()
    folder.enrol(network.folder, NAME, NUMBER)
    numbers.append(x509.load_pem_x509_certificate((network.device / "cert.pem").read_bytes()).serial_number)
    updated = []
    for _ in range(2):
        folder.withdraw(network.folder, NAME)
        updated.append(x509.load_pem_x509_crl(folder.revoked(network.folder).read_bytes()).last_update_utc)
    assert updated[1] > updated[0]  # or a broker may take the first for the newer one
    authority = x509.load_pem_x509_certificate((network.folder / "authority/cert.pem").read_bytes())
    crl = x509.load_pem_x509_crl(folder.revoked(network.folder).read_bytes())
    assert crl.is_signature_valid(authority.public_key()) and crl.issuer == authority.subject
    assert crl.next_update_utc == authority.not_valid_after_utc and crl.last_update_utc < datetime.now(UTC)
    assert sorted(each.serial_number for each in crl) == sorted(numbers)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 3
    assert (other / "key.pem").exists()


def test_who_was_never_let_in_cannot_be_revoked_or_renewed(network):
    with pytest.raises(ValueError, match="device=cellar must be enrolled"):
        revocation.revoke(network.folder, "cellar", now=NOW)
    with pytest.raises(ValueError, match="name=cellar must be enrolled before it is renewed"):
        folder.enrol(network.folder, "cellar", NUMBER + 1, renew=True)
    with pytest.raises(ValueError, match="number=8 must be 7"):
        folder.enrol(network.folder, NAME, NUMBER + 1, renew=True)
    assert (network.device / "cert.pem").exists()
