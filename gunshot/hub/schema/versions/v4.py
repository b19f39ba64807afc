"""A session says which image of a roll-out it runs."""

from alembic import op

revision, down_revision = "4", "3"


def upgrade() -> None:
    """Add both columns; what ran before ran none."""
    op.execute("ALTER TABLE session ADD COLUMN image BIGINT")
    op.execute("ALTER TABLE session ADD COLUMN release VARCHAR")
