"""The chain of what persons did: it begins with what the tables have by then."""

from datetime import UTC, datetime

import sqlalchemy as sql
from alembic import op

from gunshot.hub import audit

revision, down_revision = "2", "1"


def upgrade() -> None:
    """Make the chain's table, and enter what is there."""
    op.create_table(
        "audit",
        sql.Column("number", sql.BigInteger, primary_key=True, autoincrement=False),
        sql.Column("entry", sql.String, nullable=False),
        sql.Column("sha256", sql.String, nullable=False),
    )
    audit.adopt(op.get_bind(), now=datetime.now(UTC))
