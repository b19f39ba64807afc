"""An incident has its site, so that those near it are looked for among its site's alone."""

from alembic import op

revision, down_revision = "3", "2"


def upgrade() -> None:
    """Add the column and its index; what is in a case is of that one's site."""
    op.execute("ALTER TABLE incident ADD COLUMN site VARCHAR REFERENCES site (name)")
    op.execute(
        """UPDATE incident SET site = (SELECT "case".site FROM "case" WHERE "case".number = incident."case")
           WHERE "case" IS NOT NULL"""
    )
    op.create_index("incident_by_site", "incident", ["site", "latest_us"])
