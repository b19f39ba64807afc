"""gunshot models, gunshot promote, gunshot rollback: what is in production, and who decided so."""

import json
import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gunshot.base import tables
from gunshot.cli.app import SETTINGS, app, export

By = Annotated[str, typer.Option("--by", help="Who decides.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, in one line.")]


class Format(StrEnum):
    """How entries are printed."""

    text = "text"
    json = "json"


class Stage(StrEnum):
    """Where a version goes."""

    prod = "prod"
    staging = "staging"


FormatOption = Annotated[Format, typer.Option(help="json: for machines.")]
models = typer.Typer(
    invoke_without_command=True, context_settings=SETTINGS, help="What is and was in production, and proof of it."
)
app.add_typer(models, name="models")


@models.callback()
def listing(context: typer.Context, format: FormatOption = Format.text) -> None:
    """List what is and was in production, since when, who decided and why.

    json: an object with `champion`, a version or null, `production`, a list of version, since, until and the record's
    number of the entry, and `record`, all entries with gates, hashes and reasons.
    """
    if context.invoked_subcommand:
        return
    from gunshot.promotion import registry
    from gunshot.signing import keys as signing
    from gunshot.signing import record

    entries = record.read()
    periods = registry.production(entries)
    if format == Format.json:
        champion = registry.champion(entries)
        shown = [{k: p[k] for k in ("version", "since", "until")} | {"number": p["entry"]["number"]} for p in periods]
        content = {"champion": champion and champion["version"], "production": shown, "record": entries}
        print(json.dumps(content, indent=2, ensure_ascii=False))
        return
    if not entries:
        print("nothing was promoted yet")
    keys = signing.names(record.KEYS)
    until = {p["entry"]["number"]: p["until"] or "now" for p in periods}
    for e in entries:
        what = e["version"] or e["commit"][:12]
        time = f"{e['at']} to {until.get(e['number'], '-')}"
        print(f"{e['number']:>4}  {what:<12}  {e['event']:<11}  {e['stage']:<8}  {time}")
        print(f"      {e['by']}, with the key of {keys.get(e['key'], 'nobody known here')}: {e['reason']}")
        for name, text in e["overruled"].items():
            print(f"      overruled {name}: {text}")
        if small := Counter(name.partition("=")[0] for name in e["acknowledged"]):
            told = ", ".join(f"{count} of {axis}" for axis, count in small.items())
            print(f"      acknowledged slices with few cases: {told}")


@models.command()
def verify(format: FormatOption = Format.text) -> None:
    """Find any artifact, dossier, tag or line of the record that was altered; fails where there is one."""
    from gunshot.promotion import audit
    from gunshot.signing import keys as signing
    from gunshot.signing import record

    faults = audit.verify()
    entries = record.read() if not faults else []
    head = record.digest(entries[-1]) if entries else None
    if format == Format.json:
        print(json.dumps({"faults": faults, "lines": len(entries), "head": head}, indent=2, ensure_ascii=False))
    else:
        for fault in faults:
            print(f"fault: {fault}", file=sys.stderr)
        if not faults:
            keys = ", ".join(mark[:16] for mark in signing.trusted(record.KEYS)) or "none"
            print(f"{len(entries)} lines, no fault; last line's SHA-256 {head or 'none'}; keys trusted: {keys}")
    raise typer.Exit(1 if faults else 0)


@models.command()
def key(name: Annotated[str, typer.Argument(help="The operator's, as the public key's file is named.")]) -> None:
    """Make your signing key, for you alone to read, and its public one in models/keys/, to be committed."""
    from gunshot.signing import keys as signing
    from gunshot.signing import record

    public = signing.create(name, record.KEYS)
    print(f"{signing.path()} is yours alone; commit {public}")


@app.command()
def promote(
    candidate: Annotated[str, typer.Argument(help="A commit, branch or tag whose dvc.lock names the model.")],
    dossier: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The page that was decided from.")],
    gates: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="JSON: candidate, champion, gates, small.")],
    by: By,
    reason: Reason,
    overrule: Annotated[
        list[str] | None, typer.Option(help="GATE=TEXT: why a gate that failed may be; repeat for each.")
    ] = None,
    acknowledge: Annotated[
        list[str] | None, typer.Option(help="A slice with too few cases, or an axis for all of them; repeat for each.")
    ] = None,
    stage: Annotated[Stage, typer.Option(help="staging: for a trial; what is in production stays.")] = Stage.prod,
) -> None:
    """Put a candidate's int8 model into production, on the record, signed, with its tags."""
    from gunshot.promotion import registry

    pairs = [text.partition("=")[::2] for text in overrule or ()]
    entry = registry.promote(
        candidate, dossier=dossier, review=tables.read_json(gates), by=by, reason=reason, overrule=dict(pairs),
        acknowledge=acknowledge, stage=stage.value,
    )  # fmt: skip
    print(f"{entry['version']} is in {entry['stage']}, line {entry['number']} of the record")


@app.command()
def rollback(
    by: By,
    reason: Reason,
    to: Annotated[str | None, typer.Option(help="Default: the version that the present one replaced.")] = None,
) -> None:
    """Put an earlier version back into production, the same bytes, in models/promoted/VERSION/; on the record too."""
    from gunshot.promotion import bundle, registry

    entry = registry.rollback(to=to, by=by, reason=reason)
    print(f"{entry['version']} is in production, line {entry['number']} of the record; see {bundle.export()}")


@export.command()
def promoted(version: Annotated[str | None, typer.Argument(help="Default: the one in production.")] = None) -> None:
    """Write all of a promoted model to models/promoted/VERSION/: C, golden vectors, model card, hashes."""
    from gunshot.promotion import bundle

    print(bundle.export(version))


@export.command()
def ota(
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A firmware image with the champion.")],
    device: Annotated[str, typer.Option(help="The class of devices that it is for.")],
) -> None:
    """Sign an image for devices: IMAGE.manifest, which firmware/src/ota.c checks."""
    from gunshot.base.files import atomic
    from gunshot.promotion import ota as library

    out = image.with_name(f"{image.name}.manifest")
    with atomic(out) as part:
        part.write_bytes(library.manifest(image.read_bytes(), device=device))
    print(out)
