"""The split into train, val and test by recording group: balanced by class and source, and sticky."""

import hashlib

import pandas as pd

from gunshot.base import tables

MOST = 1.05  # of its quota that a side may get by groups that are the first of their source


def groups(chunks: pd.DataFrame) -> pd.DataFrame:
    """Return one row a recording group of a table of chunks: class (gun where any chunk is), source, chunks."""
    by = chunks.groupby("recording_group", sort=True)
    return pd.DataFrame(
        {
            "class": by["class"].max(),  # "gun" > "env"
            "source": by["source"].min(),
            "chunks": by.size(),
        }
    ).reset_index()


def merge(kept: pd.DataFrame, merged: dict[str, str]) -> pd.DataFrame:
    """Return the kept sides, columns SPLIT, after groups merged: a group has the most held-out side of its parts.

    `merged` names the group that each group is in now: near-duplicates join groups that had sides of their own.
    """
    into = kept["recording_group"].map(merged).fillna(kept["recording_group"])
    held_out = kept["side"].map({side: i for i, side in enumerate(tables.SIDES)}).groupby(into).max()
    side = into.map(held_out).map(dict(enumerate(tables.SIDES)))
    sides = kept.assign(side=side.where(side.notna(), kept["side"]))
    new = sides.assign(recording_group=into)[~into.isin(kept["recording_group"])].drop_duplicates("recording_group")
    return pd.concat([sides, new], ignore_index=True)


def assign(table: pd.DataFrame, kept: pd.DataFrame, *, shares: dict[str, float], seed: int) -> pd.DataFrame:
    """Return the sides of all groups, columns SPLIT, sorted by group.

    Parameters
    ----------
    table : columns recording_group, class, source, chunks
        The corpus's groups as `groups` gives them.
    kept : columns SPLIT
        Sides given before. They are never changed, also those of groups that `table` does not hold.
    shares : the share of the chunks that each side is to have.

    New groups go, the largest first and equal ones in an order drawn by hash, to the side whose
    quota is least filled: its quota of the class and of the class within the source, summed.
    A source's first group of a class goes to the side with the largest share, once each side has some of the class,
    and while that side has less than MOST of its quota: what the first device of a site sends is learned from.

    Raises
    ------
    ValueError
        A class has no recordings or ends without a group on a side that has a share, or `kept`
        names an unknown side or a group twice.
    """
    for row in kept[~kept["side"].isin(tables.SIDES) | kept["recording_group"].duplicated()].to_dict("records"):
        raise ValueError(
            f"recording_group={row['recording_group']!r} side={row['side']!r}: "
            f"a group must have one line in the kept split, with a side of {', '.join(tables.SIDES)}"
        )
    side = dict(zip(kept["recording_group"], kept["side"], strict=True))
    wanted = {name: share for name, share in shares.items() if share > 0}
    class_filled = {(c, s): 0 for c in ("gun", "env") for s in tables.SIDES}
    source_filled: dict[tuple[str, str, str], int] = {}
    class_total = table.groupby("class")["chunks"].sum().to_dict()
    source_total = table.groupby(["class", "source"])["chunks"].sum().to_dict()
    largest = max(wanted, key=wanted.get)

    def add(row, name: str) -> None:
        class_filled[row["class"], name] += row["chunks"]
        key = (row["class"], row["source"], name)
        source_filled[key] = source_filled.get(key, 0) + row["chunks"]

    def filled(kind: str, name: str) -> float:
        return class_filled[kind, name] / (wanted[name] * class_total[kind])

    def room(row, name: str) -> float:
        kind, source = row["class"], row["source"]
        of_source = source_filled.get((kind, source, name), 0) / (wanted[name] * source_total[kind, source])
        return -(filled(kind, name) + of_source)

    def is_learned(row) -> bool:
        kind, source = row["class"], row["source"]
        first = not any((kind, source, name) in source_filled for name in tables.SIDES)
        return first and all(filled(kind, name) for name in wanted) and filled(kind, largest) < MOST

    rows = table.to_dict("records")
    for row in rows:
        if row["recording_group"] in side:
            add(row, side[row["recording_group"]])
    new = [row for row in rows if row["recording_group"] not in side]
    for row in sorted(new, key=lambda row: (-row["chunks"], _draw(seed, row["recording_group"]))):
        best = largest if is_learned(row) else max(wanted, key=lambda name: (room(row, name), wanted[name]))
        side[row["recording_group"]] = best
        add(row, best)
    for kind in ("gun", "env"):
        present = {side[row["recording_group"]] for row in rows if row["class"] == kind}
        if missing := [name for name in wanted if name not in present]:
            count = sum(row["class"] == kind for row in rows)
            raise ValueError(
                f"class {kind!r} has {count} recording group(s), none in {missing}; "
                f"it must have one on each side: add recordings of other groups"
            )
    every = pd.concat([kept, table[["recording_group", "class", "source"]]]).drop_duplicates("recording_group")
    every["side"] = every["recording_group"].map(side)
    return every[list(tables.SPLIT)].sort_values("recording_group", ignore_index=True)


def _draw(seed: int, group: str) -> str:
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()
