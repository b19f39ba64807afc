"""Ed25519 keys: an operator's own, outside the repository, and the public ones in it that are trusted."""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as pem
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

VARIABLE = "GUNSHOT_KEY"


def path() -> Path:
    """Return where the operator's key is: GUNSHOT_KEY, else ~/.config/gunshot/key.pem."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".config" / "gunshot" / "key.pem")


def create(name: str, folder: Path) -> Path:
    """Make the operator's key, readable by nobody else, and return the public one's path, `folder`/NAME.pem.

    ValueError where either exists or the name cannot be a file's: a key is never written over.
    """
    if not name or not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"name={name!r} must be letters, digits, - and _")
    private, public = path(), folder / f"{name}.pem"
    for file in (private, public):
        if file.exists():
            raise ValueError(f"{file} exists; a key is never written over")
    key = Ed25519PrivateKey.generate()
    private.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
        f.write(private_pem(key))
    folder.mkdir(parents=True, exist_ok=True)
    public.write_bytes(public_pem(key))
    return public


def private_pem(key: Ed25519PrivateKey) -> bytes:
    """Return a private key as the file that `load` reads."""
    return key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, pem.NoEncryption())


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """Return the public key of a private one as the file that `public` reads."""
    return key.public_key().public_bytes(pem.Encoding.PEM, pem.PublicFormat.SubjectPublicKeyInfo)


def private() -> Ed25519PrivateKey:
    """Return the operator's key; ValueError where there is none, others can read it, or it is of another kind."""
    file = path()
    if not file.is_file():
        raise ValueError(f"{file}: no key; make one with `gunshot models key NAME`, or name it in {VARIABLE}")
    return load(file)


def load(file: Path) -> Ed25519PrivateKey:
    """Return the private key of a file; ValueError where others can read it, or it is of another kind."""
    if mode := file.stat().st_mode & 0o077:
        raise ValueError(f"{file}: mode={mode:o} lets others at it; chmod 600 it")
    try:
        key = pem.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError) as e:
        raise ValueError(f"{file}: must be an Ed25519 key in PEM without a password: {e}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"{file}: key={type(key).__name__} must be Ed25519")
    return key


def raw(key: Ed25519PublicKey) -> bytes:
    """Return the 32 bytes that firmware knows a key by."""
    return key.public_bytes(pem.Encoding.Raw, pem.PublicFormat.Raw)


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of a key's 32 bytes."""
    return hashlib.sha256(raw(key)).hexdigest()


def public(file: Path) -> Ed25519PublicKey:
    """Return the public key of a file; ValueError names one that holds none."""
    try:
        key = pem.load_pem_public_key(file.read_bytes())
    except ValueError as e:
        raise ValueError(f"{file}: must be an Ed25519 public key in PEM: {e}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError(f"{file}: key={type(key).__name__} must be Ed25519")
    return key


def trusted(folder: Path) -> dict[str, Ed25519PublicKey]:
    """Return the public keys in `folder` by fingerprint; ValueError names a file that holds none."""
    keys = [public(file) for file in sorted(folder.glob("*.pem"))]
    return {fingerprint(key): key for key in keys}


def names(folder: Path) -> dict[str, str]:
    """Return the operators' names, as their public keys in `folder` are named, by fingerprint."""
    return {fingerprint(pem.load_pem_public_key(file.read_bytes())): file.stem for file in sorted(folder.glob("*.pem"))}


def signed_by(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    """Return whether `signature` is the key's, of `content`."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
