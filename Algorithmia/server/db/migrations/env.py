"""What alembic runs to migrate: always on the connection, and in the transaction, of `Database.upgrade`."""

from __future__ import annotations

from alembic import context

from Algorithmia.server.db.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite alters a table by copying it.
    render_as_batch=True,
    # The caller has begun; all revisions succeed together or not at all.
    transactional_ddl=False,
)
context.run_migrations()
