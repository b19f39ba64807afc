"""Devices that are revoked or renewed, at a real Mosquitto: who is out is out at once, and what it told stays."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from gunshot.hub import database, folder, intake, orders, revocation
from gunshot.signing import keys
from tests.firmware.driven import shots
from tests.hub.network import NAME, NUMBER, Network, Sender, until

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
