"""Calls that were acknowledged before they ran."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "async_calls",
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("key_id", sa.String(36)),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("build_id", sa.String(36), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("content_type", sa.String(16), nullable=False),
        sa.Column("timeout", sa.Float, nullable=False),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("request_id", name="pk_async_calls"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_async_calls_account_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["algorithm_id"], ["algorithms.id"], name="fk_async_calls_algorithm_id", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    op.drop_table("async_calls")
