"""What Alembic runs: the steps, in the transaction of `gunshot.hub.schema.prepare`."""

from alembic import context

from gunshot.hub.schema import MARK

context.configure(connection=context.config.attributes["connection"], version_table=MARK.name)
context.run_migrations()
