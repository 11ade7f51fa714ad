"""Building and running what people push: what a build needs to run, secrets, and the errors of calls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("builds") as builds:
        builds.add_column(sa.Column("environment", sa.String(64), nullable=False, server_default=""))
        builds.add_column(sa.Column("runtime", sa.Text, nullable=False, server_default=""))
        builds.add_column(sa.Column("problem", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "secrets",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("short_name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("secret_key", sa.String(255), nullable=False),
        sa.Column("encrypted_value", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_secrets"),
        sa.ForeignKeyConstraint(
            ["algorithm_id"], ["algorithms.id"], name="fk_secrets_algorithm_id", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("algorithm_id", "secret_key", name="uq_secrets_algorithm_id_secret_key"),
    )
    op.create_table(
        "call_errors",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("algorithm_id", sa.String(36), nullable=False),
        sa.Column("caller_id", sa.String(36), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("error_type", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_call_errors"),
        sa.ForeignKeyConstraint(
            ["algorithm_id"], ["algorithms.id"], name="fk_call_errors_algorithm_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["caller_id"], ["accounts.id"], name="fk_call_errors_caller_id", ondelete="CASCADE"),
    )
    op.create_index("ix_call_errors_algorithm_id", "call_errors", ["algorithm_id", "created_at"])
    op.create_index("ix_call_errors_caller_id", "call_errors", ["caller_id"])


def downgrade() -> None:
    op.drop_table("call_errors")
    op.drop_table("secrets")
    with op.batch_alter_table("builds") as builds:
        for column in ("problem", "runtime", "environment"):
            builds.drop_column(column)
