"""A promoted model as an image for devices that run on Linux, and its manifest, signed by the operator."""

from pathlib import Path

from gunshot.device import slots
from gunshot.promotion import bundle, ota
from gunshot.promotion.repository import Repository
from gunshot.signing import record

PARAMS = "params.yaml"


def export(version: str | None = None, *, root: Path = Path()) -> tuple[Path, Path]:
    """Write VERSION.image and VERSION.image.manifest of the model in production; return both.

    It is what `bundle.export` gives, and the params.yaml of its commit. ValueError where another version is asked for
    than the one in production, or as for `bundle.export` and `ota.manifest`.
    """
    entry = ota.production(root)
    if version not in (None, entry["version"]):
        raise ValueError(
            f"version={version} must be the one in production, {entry['version']}; `gunshot rollback` goes back to one"
        )
    folder = bundle.export(entry["version"], root=root)
    contents = {name: (folder / name).read_bytes() for name in slots.NAMES if name != PARAMS}
    model = next(one for one in record.read(root) if one["event"] == "promoted" and one["version"] == entry["version"])
    content = slots.pack(contents | {PARAMS: Repository(root).show(model["commit"], Path(PARAMS))})
    signed = ota.manifest(content, device=slots.CLASS, root=root)
    image, manifest = folder.with_name(f"{folder.name}.image"), folder.with_name(f"{folder.name}.image.manifest")
    record.write(image, content)
    record.write(manifest, signed)
    return image, manifest
