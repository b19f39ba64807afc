"""gunshot models: what is and was in production, and who decided so."""

import json
import sys
from collections import Counter
from typing import Annotated

import typer

from gunshot.cli.app import models
from gunshot.cli.options import Format, counted

FormatOption = Annotated[Format, typer.Option(help="json: for machines.")]


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
            counts = ", ".join(f"{count} of {axis}" for axis, count in small.items())
            print(f"      acknowledged slices with few cases: {counts}")


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
            print(
                f"{counted(len(entries), 'line')}, no fault; last line's SHA-256 {head or 'none'}; keys trusted: {keys}"
            )
    raise typer.Exit(1 if faults else 0)


@models.command()
def key(name: Annotated[str, typer.Argument(help="The operator's, as the public key's file is named.")]) -> None:
    """Make your signing key, for you alone to read, and its public one in models/keys/, to be committed."""
    from gunshot.signing import keys as signing
    from gunshot.signing import record

    public = signing.create(name, record.KEYS)
    print(f"{signing.path()} is yours alone; commit {public}")
