"""Certificates of the hub's own authority: of the broker, of the hub, of each device; and which are revoked.

A key is never written over.

Keys are of P-256, which small devices' TLS libraries have; Ed25519, with which promotions are signed, they lack.
"""

import fcntl
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gunshot.signing import record

AUTHORITY_DAYS, DAYS = 365 * 30, 365 * 10
BROWSER_DAYS = 800  # Apple's browsers take no server's certificate of more than 825, whoever signed it
BEHIND = timedelta(days=1)  # that the clock of who checks a certificate may be


def authority(folder: Path) -> None:
    """Make the authority in a folder, ``cert.pem`` and ``key.pem``, as far as it is not there."""
    key = _key(folder)
    if not (file := folder / "cert.pem").exists():
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"gunshot hub {x509.random_serial_number():x}"[:64])])
        builder = _builder(name, name, key.public_key(), key, AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        _write(file, builder.add_extension(_usage(ca=True), critical=True).sign(key, hashes.SHA256()))


def issue(
    authority: Path, folder: Path, name: str,
    *, host: str | None = None, days: int = DAYS, copies: Path | None = None,
) -> None:  # fmt: skip
    """Make a certificate with a common name in a folder, its key and its authority's, as far as they are not there.

    They are ``cert.pem``, ``key.pem`` and ``ca.pem``. With a `host` it is a server's, which is reached by that name or
    address; otherwise a client's. It lasts so many days. `copies` is a folder that keeps the certificate, so that it
    can be revoked when it is elsewhere.
    """
    key = _key(folder)
    issuer, signer = _authority(authority)
    if not (file := folder / "cert.pem").exists():
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(subject, issuer.subject, key.public_key(), signer, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(ca=False), critical=True)
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if host else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
        certificate = builder.sign(signer, hashes.SHA256())
        if copies:  # first: what is handed out can be revoked
            copies.mkdir(exist_ok=True, mode=0o700)
            _write(copies / f"{certificate.serial_number:x}.pem", certificate)
        _write(file, certificate)
    if not (file := folder / "ca.pem").exists():
        _write(file, issuer)


def issued(copies: Path, name: str) -> list[x509.Certificate]:
    """Return the certificates of a common name that `issue` kept in a folder."""
    kept = [x509.load_pem_x509_certificate(file.read_bytes()) for file in sorted(copies.glob("*.pem"))]
    return [one for one in kept if one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == name]


def revoke(authority: Path, file: Path, certificates: Iterable[x509.Certificate] = ()) -> None:
    """Add certificates to the list (CRL) in a file of those that are revoked; it is made where it is not there.

    It is valid as long as the authority: where a list has ended, brokers let nobody in.
    """
    issuer, signer = _authority(authority)
    with (authority / "key.pem").open() as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        before, number, last = [], 0, datetime.now(UTC) - BEHIND
        if file.exists():
            before = x509.load_pem_x509_crl(file.read_bytes())
            number = before.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            # A broker takes the newer of two lists, by whole seconds; but none that is not valid yet.
            if before.last_update_utc < datetime.now(UTC):
                last = max(last, before.last_update_utc + timedelta(seconds=1))
        now, listed = datetime.now(UTC), {one.serial_number: one for one in before}
        for serial in {one.serial_number for one in certificates} - listed.keys():
            listed[serial] = x509.RevokedCertificateBuilder(serial, now).build()
        builder = x509.CertificateRevocationListBuilder(
            issuer.subject, last, issuer.not_valid_after_utc, revoked_certificates=list(listed.values())
        )
        builder = builder.add_extension(x509.CRLNumber(number + 1), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        crl = builder.add_extension(identifier, critical=False).sign(signer, hashes.SHA256())
        record.write(file, crl.public_bytes(pem.Encoding.PEM))


def keep(file: Path, content: bytes) -> None:
    """Write a file that its owner alone reads, whole or not at all; one that is there stays as it is."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = file.with_name(f".{file.name}.part")
    part.unlink(missing_ok=True)  # of a run that was cut off
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
        f.write(content)
        f.flush()
        os.fsync(f.fileno())
    os.link(part, file)  # unlike a rename, it fails where there is one by now
    part.unlink()


def _authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return the certificate and the key of an authority."""
    certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    return certificate, pem.load_pem_private_key((folder / "key.pem").read_bytes(), password=None)


def _key(folder: Path) -> ec.EllipticCurvePrivateKey:
    """Return the key of a folder, which is made where there is none."""
    file = folder / "key.pem"
    if not file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        keep(file, key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption()))
    return pem.load_pem_private_key(file.read_bytes(), password=None)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BEHIND)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )


def _usage(*, ca: bool) -> x509.KeyUsage:
    other = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only",
         "decipher_only"),
        False,
    )  # fmt: skip
    return x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **other)


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(file: Path, certificate: x509.Certificate) -> None:
    record.write(file, certificate.public_bytes(pem.Encoding.PEM))
