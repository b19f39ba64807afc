"""Rows of a table as messages that are taken in together change them: read once each, and written at once."""

import sqlalchemy as sql


class Rows:
    """The rows of a table by key, in the transaction of a connection; a row is a dict by column.

    `put` changes one here alone, until `write` does so in the database: nobody else may write it meanwhile.
    """

    def __init__(self, connection: sql.Connection, table: sql.Table):
        self._connection, self._table = connection, table
        self._names = [column.name for column in table.primary_key]
        # Parameters, not values: so the statement is compiled once, and prepared once.
        self._same = [column == sql.bindparam(f"key_{column.name}") for column in table.primary_key]
        self._query = sql.select(table).where(*self._same)
        self._before: dict[tuple, dict | None] = {}
        self._now: dict[tuple, dict | None] = {}

    def get(self, key: tuple) -> dict | None:
        """Return a row as it is by now; None where there is none."""
        if key not in self._now:
            row = self._connection.execute(self._query, self._parameters(key)).mappings().first()
            self._before[key] = self._now[key] = row and dict(row)
        return self._now[key]

    def before(self, key: tuple) -> dict | None:
        """Return a row that was got as it was at first; None where there was none."""
        return self._before[key]

    def put(self, key: tuple, values: dict) -> None:
        """Change a row, or add it."""
        row = self.get(key) or dict.fromkeys(self._table.c.keys()) | dict(zip(self._names, key, strict=True))
        self._now[key] = row | values

    def write(self) -> None:
        """Insert the rows that are new, and update what changed of the others."""
        new = [row for key, row in self._now.items() if row and self._before[key] is None]
        if new:
            self._connection.execute(sql.insert(self._table), new)
        alike: dict[tuple, list[dict]] = {}  # by which columns changed: a statement each
        for key, before in self._before.items():
            changed = {name: value for name, value in self._now[key].items() if value != before[name]} if before else {}
            if changed:
                alike.setdefault(tuple(changed), []).append(changed | self._parameters(key))
        for rows in alike.values():
            self._connection.execute(sql.update(self._table).where(*self._same), rows)

    def _parameters(self, key: tuple) -> dict:
        return {f"key_{name}": value for name, value in zip(self._names, key, strict=True)}
