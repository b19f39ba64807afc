"""Times as the console's pages show them."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(time: datetime | None) -> datetime | None:
    """Return a time of the database with its zone: SQLite has none, and all are UTC."""
    return time and time.replace(tzinfo=time.tzinfo or UTC)


def from_unix(unix_us: int | None) -> datetime | None:
    """Return the time of so many microseconds since 1970; None stays None."""
    return None if unix_us is None else EPOCH + timedelta(microseconds=unix_us)


def span(time: timedelta | None) -> str:
    """Return a span of time in words of at most two units: ``4 s``, ``2 min 5 s``, ``3 h 20 min``, ``2 d 3 h``.

    Examples
    --------
    >>> span(timedelta(seconds=125)), span(timedelta(days=2, hours=3)), span(None)
    ('2 min 5 s', '2 d 3 h', '')
    """
    if time is None:
        return ""
    left, parts = round(time.total_seconds()), []
    for unit, seconds in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        whole, left = divmod(left, seconds)
        if whole:
            parts.append(f"{whole} {unit}")
        elif parts:
            break  # 1 d 0 h 5 min says no more than 1 d
    return " ".join(parts[:2]) or "0 s"
