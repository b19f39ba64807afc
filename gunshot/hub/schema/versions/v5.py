"""An incident says by which site's profile it was decided; what verifiers think of it, and of clips of it."""

from alembic import op
from sqlalchemy import Column, DateTime

revision, down_revision = "5", "4"


def upgrade() -> None:
    """Add the columns; of what came before nobody had said any of it."""
    op.execute("ALTER TABLE incident ADD COLUMN profile VARCHAR")
    op.execute("ALTER TABLE incident ADD COLUMN opinion_sequence BIGINT")
    for table in ("incident", "clip"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN verifier VARCHAR")
        op.execute(f"ALTER TABLE {table} ADD COLUMN opinion BIGINT")
        op.execute(f"ALTER TABLE {table} ADD COLUMN upheld BOOLEAN")
    op.add_column("clip", Column("judged_at", DateTime(timezone=True)))
