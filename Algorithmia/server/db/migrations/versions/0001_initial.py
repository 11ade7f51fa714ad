"""The first schema: accounts and keys, hosted data, algorithms with their builds and versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("username", sa.String(30), nullable=False),
        sa.Column("username_key", sa.String(30), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False, server_default="user"),
        sa.Column("email", sa.Text, nullable=False, server_default=""),
        sa.Column("fullname", sa.Text, nullable=False, server_default=""),
        sa.Column("company_name", sa.Text, nullable=False, server_default=""),
        sa.Column("company_role", sa.Text, nullable=False, server_default=""),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("username_key", name="uq_accounts_username_key"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("key_hash", sa.String(64), nullable=False),
        sa.Column("mask", sa.String(32), nullable=False),
        sa.Column("key_type", sa.String(32), nullable=False),
        sa.Column("permissions", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_api_keys_account_id", ondelete="CASCADE"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )
    op.create_index("ix_api_keys_account_id", "api_keys", ["account_id"])
    op.create_table(
        "collections",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("space", sa.String(8), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(160), nullable=False),
        sa.Column("acl_read", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_collections"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_collections_account_id", ondelete="CASCADE"),
        sa.UniqueConstraint("space", "account_id", "name", name="uq_collections_space_account_id_name"),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("collection_id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("md5", sa.String(32), nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("blob_id", sa.String(36), nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name="fk_files_collection_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("blob_id", name="uq_files_blob_id"),
        sa.UniqueConstraint("collection_id", "name", name="uq_files_collection_id_name"),
    )
    op.create_table(
        "garbage",
        sa.Column("blob_id", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("blob_id", name="pk_garbage"),
    )
    op.create_table(
        "algorithms",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("details", sa.Text, nullable=False, server_default="{}"),
        sa.Column("settings", sa.Text, nullable=False, server_default="{}"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_algorithms"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_algorithms_account_id", ondelete="CASCADE"),
        sa.UniqueConstraint("account_id", "name", name="uq_algorithms_account_id_name"),
    )
    op.create_table(
        "builds",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("commit_sha", sa.String(40), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("artifact", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_builds"),
        sa.ForeignKeyConstraint(["algorithm_id"], ["algorithms.id"], name="fk_builds_algorithm_id", ondelete="CASCADE"),
    )
    op.create_index("ix_builds_algorithm_id", "builds", ["algorithm_id"])
    op.create_table(
        "versions",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("build_id", sa.String(36), nullable=False),
        sa.Column("major", sa.Integer, nullable=False),
        sa.Column("minor", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("callability", sa.String(8), nullable=False),
        sa.Column("settings", sa.Text, nullable=False, server_default="{}"),
        sa.Column("info", sa.Text, nullable=False, server_default="{}"),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_versions"),
        sa.ForeignKeyConstraint(
            ["algorithm_id"], ["algorithms.id"], name="fk_versions_algorithm_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["build_id"], ["builds.id"], name="fk_versions_build_id"),
        sa.UniqueConstraint(
            "algorithm_id", "major", "minor", "revision", name="uq_versions_algorithm_id_major_minor_revision"
        ),
    )


def downgrade() -> None:
    for table in ("versions", "builds", "algorithms", "garbage", "files", "collections", "api_keys", "accounts"):
        op.drop_table(table)
