"""Digests beside ETags, uploads that can be taken up again, what each account stores, names in the order of bytes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_USED = """
UPDATE accounts SET used_bytes = (
    SELECT COALESCE(SUM(files.size), 0) FROM files JOIN collections ON collections.id = files.collection_id
    WHERE collections.account_id = accounts.id
)
"""


def upgrade() -> None:
    op.execute("ALTER TABLE files RENAME COLUMN md5 TO etag")  # in place: there may be millions of rows
    op.add_column("files", sa.Column("sha256", sa.String(64)))
    op.add_column("files", sa.Column("xxh128", sa.String(32)))
    op.add_column("accounts", sa.Column("used_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("accounts", sa.Column("quota_bytes", sa.BigInteger))
    op.execute(_USED)
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE files ALTER COLUMN name TYPE TEXT COLLATE "C"')
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text),
        sa.Column("size", sa.BigInteger),
        sa.Column("conditions", sa.Text, nullable=False),
        sa.Column("blob_id", sa.String(36), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("touched_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_uploads_account_id", ondelete="CASCADE"),
        sa.UniqueConstraint("blob_id", name="uq_uploads_blob_id"),
    )
    op.create_index("ix_uploads_account_id", "uploads", ["account_id"])
    op.create_index("ix_uploads_touched_at", "uploads", ["touched_at"])


def downgrade() -> None:
    op.drop_table("uploads")
    op.drop_column("accounts", "quota_bytes")
    op.drop_column("accounts", "used_bytes")
    op.drop_column("files", "xxh128")
    op.drop_column("files", "sha256")
    op.execute("ALTER TABLE files RENAME COLUMN etag TO md5")
