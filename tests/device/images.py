"""Images for tests, by an operator of theirs, and a device's folder that trusts that one."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gunshot.device import images, orders, releases, slots
from gunshot.signing import keys, manifests, record

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HUB = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))  # its order key
PARAMS = Path(__file__).parents[2].joinpath("params.yaml").read_bytes()


def image(model: bytes, *, params: bytes = PARAMS) -> bytes:
    """An image whose model is some bytes."""
    return slots.pack({"model.tflite": model, "report.json": b"{}", "operating.json": b"{}", "params.yaml": params})


def manifest(content: bytes, number: int = 1, *, device: str = slots.CLASS, key: Ed25519PrivateKey = OPERATOR) -> bytes:
    """Its manifest, of the model v1.NUMBER.0."""
    return manifests.sign(content, device=device, number=number, version=f"v1.{number}.0", key=key)


def trusting(folder: Path) -> Path:
    """A device's folder that takes images of OPERATOR, and offers of HUB."""
    folder.mkdir(parents=True, exist_ok=True)
    record.write(folder / orders.KEY, keys.public_pem(HUB))
    record.write(folder / images.OPERATORS / "ada.pem", keys.public_pem(OPERATOR))
    return folder


def part(id: str, content: bytes, number: int) -> bytes:
    """A part of an image as a hub sends it."""
    return releases.part(id, content[number * releases.PART : (number + 1) * releases.PART], number)
