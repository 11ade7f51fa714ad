"""Tables of the platform. Ids are UUID texts, times are milliseconds since the epoch, JSON is text.

A change here comes with a migration in `migrations/versions/`; a test compares the two.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(36), primary_key=True)


def _created() -> sa.Column[int]:
    return sa.Column("created_at", sa.BigInteger, nullable=False)


accounts = sa.Table(
    "accounts",
    metadata,
    _id(),
    sa.Column("username", sa.String(30), nullable=False),
    # Names differ by more than case, so that nobody is mistaken for somebody else.
    sa.Column("username_key", sa.String(30), nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False, server_default="user"),
    sa.Column("email", sa.Text, nullable=False, server_default=""),
    sa.Column("fullname", sa.Text, nullable=False, server_default=""),
    sa.Column("company_name", sa.Text, nullable=False, server_default=""),
    sa.Column("company_role", sa.Text, nullable=False, server_default=""),
    _created(),
    # sizes of the files in its collections, together
    sa.Column("used_bytes", sa.BigInteger, nullable=False, server_default="0"),
    # how much that may be; none: what the platform's settings say
    sa.Column("quota_bytes", sa.BigInteger),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    _id(),
    sa.Column("account_id", sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("mask", sa.String(32), nullable=False),
    sa.Column("key_type", sa.String(32), nullable=False),
    sa.Column("permissions", sa.Text, nullable=False),
    _created(),
)

collections = sa.Table(
    "collections",
    metadata,
    _id(),
    # hosted: name is the collection's; algo: OWNER/NAME/FOLDER; session: the session id
    sa.Column("space", sa.String(8), nullable=False),
    sa.Column("account_id", sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.String(160), nullable=False),
    sa.Column("acl_read", sa.String(32), nullable=False),
    _created(),
    sa.UniqueConstraint("space", "account_id", "name"),
)

files = sa.Table(
    "files",
    metadata,
    _id(),
    sa.Column("collection_id", sa.ForeignKey("collections.id", ondelete="CASCADE"), nullable=False),
    # by bytes, as SQLite compares: what begins with FOLDER/ is one stretch of the index
    sa.Column("name", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    # MD5, or the XXH3-128 of large files (services/digests.py)
    sa.Column("etag", sa.String(32), nullable=False),
    sa.Column("content_type", sa.Text, nullable=False),
    sa.Column("blob_id", sa.String(36), nullable=False, unique=True),
    sa.Column("modified_at", sa.BigInteger, nullable=False),
    # of small files, and of large ones for whom somebody wanted it
    sa.Column("sha256", sa.String(64)),
    # of large files, and of small ones that were compared by it; neither is known of what older versions stored, whose
    # ETag is an MD5 whatever the size
    sa.Column("xxh128", sa.String(32)),
    sa.UniqueConstraint("collection_id", "name"),
)

# Uploads that can be taken up again: begun, not committed. What has come of one is its staged blob.
uploads = sa.Table(
    "uploads",
    metadata,
    _id(),
    sa.Column("account_id", sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    # data URI, as whoever began it wrote it
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("content_type", sa.Text),
    # of the whole, if it's known
    sa.Column("size", sa.BigInteger),
    sa.Column("conditions", sa.Text, nullable=False),
    sa.Column("blob_id", sa.String(36), nullable=False, unique=True),
    _created(),
    sa.Column("touched_at", sa.BigInteger, nullable=False, index=True),
)

# Blobs that no file row points to any more: written in the transaction that let go of them, removed once unlinked.
garbage = sa.Table("garbage", metadata, sa.Column("blob_id", sa.String(36), primary_key=True))

algorithms = sa.Table(
    "algorithms",
    metadata,
    _id(),
    sa.Column("account_id", sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("details", sa.Text, nullable=False, server_default="{}"),
    sa.Column("settings", sa.Text, nullable=False, server_default="{}"),
    _created(),
    sa.UniqueConstraint("account_id", "name"),
)

builds = sa.Table(
    "builds",
    metadata,
    _id(),
    sa.Column("algorithm_id", sa.ForeignKey("algorithms.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("commit_sha", sa.String(40), nullable=False),
    # in-progress, succeeded, failed; unbuilt: a bundled algorithm that nobody has called yet
    sa.Column("status", sa.String(16), nullable=False),
    # catalog:OWNER/NAME for bundled algorithms, else a directory below the state directory
    sa.Column("artifact", sa.Text, nullable=False),
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("finished_at", sa.BigInteger),
    # name of the environment (languages/base.py) that it was built for, and what running it takes (a Runtime as JSON)
    sa.Column("environment", sa.String(64), nullable=False, server_default=""),
    sa.Column("runtime", sa.Text, nullable=False, server_default=""),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
)

versions = sa.Table(
    "versions",
    metadata,
    _id(),
    sa.Column("algorithm_id", sa.ForeignKey("algorithms.id", ondelete="CASCADE"), nullable=False),
    sa.Column("build_id", sa.ForeignKey("builds.id"), nullable=False),
    sa.Column("major", sa.Integer, nullable=False),
    sa.Column("minor", sa.Integer, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("callability", sa.String(8), nullable=False),
    sa.Column("settings", sa.Text, nullable=False, server_default="{}"),
    sa.Column("info", sa.Text, nullable=False, server_default="{}"),
    _created(),
    sa.UniqueConstraint("algorithm_id", "major", "minor", "revision"),
)

# Values are encrypted (services/secrets.py); nothing returns them.
secrets = sa.Table(
    "secrets",
    metadata,
    _id(),
    sa.Column("algorithm_id", sa.ForeignKey("algorithms.id", ondelete="CASCADE"), nullable=False),
    sa.Column("short_name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("secret_key", sa.String(255), nullable=False),
    sa.Column("encrypted_value", sa.Text, nullable=False),
    _created(),
    sa.Column("modified_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("algorithm_id", "secret_key"),
)

# Storage elsewhere that accounts have connected. Credentials are encrypted; nothing returns them.
connectors = sa.Table(
    "connectors",
    metadata,
    _id(),
    sa.Column("account_id", sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    sa.Column("protocol", sa.String(16), nullable=False),
    sa.Column("label", sa.String(64), nullable=False),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("writeable", sa.Boolean, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("encrypted_credentials", sa.Text, nullable=False),
    _created(),
    sa.Column("modified_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("account_id", "protocol", "label"),
)

# Calls that failed, for the algorithm's owner and for the caller; kept for some days.
call_errors = sa.Table(
    "call_errors",
    metadata,
    _id(),
    sa.Column("algorithm_id", sa.ForeignKey("algorithms.id", ondelete="CASCADE"), nullable=False),
    sa.Column("caller_id", sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("input", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("error_type", sa.Text, nullable=False),
    _created(),
    sa.Index("ix_call_errors_algorithm_id", "algorithm_id", "created_at"),
)

# Calls that were acknowledged before they ran (output=void), until they have ended. Large inputs come last, so that
# looking at the other columns doesn't read them.
async_calls = sa.Table(
    "async_calls",
    metadata,
    sa.Column("request_id", sa.String(64), primary_key=True),
    sa.Column("account_id", sa.ForeignKey("accounts.id", ondelete="CASCADE"), nullable=False),
    # of the call from outside; it may have been deleted since
    sa.Column("key_id", sa.String(36)),
    sa.Column("algorithm_id", sa.ForeignKey("algorithms.id", ondelete="CASCADE"), nullable=False),
    # as resolved when the call was accepted; builds come and go
    sa.Column("build_id", sa.String(36), nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("content_type", sa.String(16), nullable=False),
    sa.Column("timeout", sa.Float, nullable=False),
    # 1 for a call from outside, 2 for one made by such a call, ...
    sa.Column("depth", sa.Integer, nullable=False),
    # begun and, as far as anybody knows, not ended
    sa.Column("attempts", sa.Integer, nullable=False),
    _created(),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
