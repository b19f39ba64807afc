"""A database of before there were versions."""

revision, down_revision = "1", None


def upgrade() -> None:
    """Do nothing: it is there."""
