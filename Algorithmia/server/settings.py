"""Settings of the platform: one table that feeds `algo serve --help`, the environment, and docs/reference/settings.md.

Precedence: command-line flag > environment variable > default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import config

if TYPE_CHECKING:
    from sqlalchemy import URL

MIB = 1024 * 1024


def default_home() -> Path:
    """Where the profiles file and the platform's state live: the SDK's home, so that both mean the same directory."""
    return Path(config.home())


def _setting(default: Any, help: str, variable: str | None = None) -> Any:
    return field(default=default, metadata={"help": help, "variable": variable})


@dataclass(slots=True, kw_only=True)
class Settings:
    """Everything an operator can choose. Sizes are bytes, times seconds."""

    home: Path = field(
        default_factory=default_home,
        metadata={"help": "directory of the profiles file and of the platform's state", "variable": "ALGORITHMIA_HOME"},
    )
    host: str = _setting("127.0.0.1", "address to listen on")
    port: int = _setting(0, "port to listen on; 0 picks a free one")
    user: str | None = _setting(None, "account made at first start; default: named like the operating system user")
    tls_cert: str | None = _setting(None, "PEM certificate chain; serves HTTPS together with --tls-key")
    tls_key: str | None = _setting(None, "PEM private key")
    gateways: int = _setting(
        0, "processes that speak HTTP for the platform, on cores of their own; 0: it speaks it itself",
        "ALGORITHMIA_GATEWAYS",
    )
    database: str | None = _setting(
        None, "SQLAlchemy URL; default: SQLite in the state directory", "ALGORITHMIA_DATABASE"
    )
    storage: str = _setting(
        "local",
        "where file contents are: local (in the state directory), s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or "
        "az://CONTAINER/PREFIX",
        "ALGORITHMIA_STORAGE",
    )
    idle_timeout: float = _setting(
        1800.0, "the background platform stops after this long without a request; 0 never", "ALGORITHMIA_IDLE_TIMEOUT"
    )
    shutdown_timeout: float = _setting(
        30.0, "how long calls in flight may take to finish at shutdown", "ALGORITHMIA_SHUTDOWN_TIMEOUT"
    )
    request_timeout: float = _setting(
        120.0,
        "how long a client may take over the head of a request, or pause in its body; 0 is no limit",
        "ALGORITHMIA_REQUEST_TIMEOUT",
    )
    max_concurrent_calls: int = _setting(
        80, "calls in flight per account; more are refused with 429", "ALGORITHMIA_MAX_CONCURRENT_CALLS"
    )
    max_child_calls: int = _setting(24, "calls that one external call may make below it", "ALGORITHMIA_MAX_CHILD_CALLS")
    max_call_depth: int = _setting(
        10, "longest chain of algorithms that call each other, beginning with the one called from outside",
        "ALGORITHMIA_MAX_CALL_DEPTH",
    )
    max_workers: int = _setting(
        8, "warm worker processes per build and calling account", "ALGORITHMIA_MAX_WORKERS"
    )
    max_processes: int = _setting(
        0,
        "worker processes on this machine; 0: one for every 256 MiB of its memory, at least 32",
        "ALGORITHMIA_MAX_PROCESSES",
    )
    worker_max_calls: int = _setting(
        100_000, "a worker process is replaced after so many calls; 0 never", "ALGORITHMIA_WORKER_MAX_CALLS"
    )
    worker_idle_timeout: float = _setting(
        300.0, "a worker process ends after this long without a call", "ALGORITHMIA_WORKER_IDLE_TIMEOUT"
    )
    load_timeout: float = _setting(120.0, "how long an algorithm may take to load", "ALGORITHMIA_LOAD_TIMEOUT")
    max_input_bytes: int = _setting(10 * MIB, "largest input of a call", "ALGORITHMIA_MAX_INPUT_BYTES")
    max_result_bytes: int = _setting(15 * MIB, "largest result of a call", "ALGORITHMIA_MAX_RESULT_BYTES")
    max_stdout_bytes: int = _setting(1 * MIB, "captured output kept per call", "ALGORITHMIA_MAX_STDOUT_BYTES")
    max_file_bytes: int = _setting(0, "largest hosted file; 0 is no limit", "ALGORITHMIA_MAX_FILE_BYTES")
    max_account_bytes: int = _setting(
        0,
        "what the hosted files of an account may take together, if it has no quota of its own; 0 is no limit",
        "ALGORITHMIA_MAX_ACCOUNT_BYTES",
    )
    sandbox: str = _setting(
        "auto",
        "auto: confine algorithms and builds where this machine can; require: refuse to start where it can't; "
        "off: run them as the platform's own user",
        "ALGORITHMIA_SANDBOX",
    )
    max_scratch_bytes: int = _setting(
        1024 * MIB, "what an algorithm's process may write to its /tmp", "ALGORITHMIA_MAX_SCRATCH_BYTES"
    )
    max_memory_bytes: int = _setting(
        4096 * MIB,
        "memory of an algorithm's process, or of a command of a build, with all that it starts; 0 is no limit",
        "ALGORITHMIA_MAX_MEMORY_BYTES",
    )
    max_builds: int = _setting(2, "builds that run at once; others wait", "ALGORITHMIA_MAX_BUILDS")
    build_timeout: float = _setting(1800.0, "how long a build may take", "ALGORITHMIA_BUILD_TIMEOUT")
    max_build_bytes: int = _setting(
        8192 * MIB, "largest build: sources, dependencies and what they are compiled to", "ALGORITHMIA_MAX_BUILD_BYTES"
    )
    max_build_log_bytes: int = _setting(4 * MIB, "log kept per build", "ALGORITHMIA_MAX_BUILD_LOG_BYTES")
    keep_builds: int = _setting(
        50,
        "builds kept per algorithm besides the published ones, the newest; 0 keeps all",
        "ALGORITHMIA_KEEP_BUILDS",
    )
    max_push_bytes: int = _setting(256 * MIB, "largest git push, packed", "ALGORITHMIA_MAX_PUSH_BYTES")
    max_source_bytes: int = _setting(
        512 * MIB, "largest source of an algorithm, unpacked", "ALGORITHMIA_MAX_SOURCE_BYTES"
    )
    connector_hosts: str = _setting(
        "",
        "servers inside the platform's network that connectors may use: comma-separated host or host:port, or any",
        "ALGORITHMIA_CONNECTOR_HOSTS",
    )
    page_size: int = _setting(1000, "entries per page of a listing", "ALGORITHMIA_PAGE_SIZE")
    metrics_algorithms: int = _setting(
        0,
        "how many algorithms /metrics counts by name; the rest are counted together",
        "ALGORITHMIA_METRICS_ALGORITHMS",
    )
    log_level: str = _setting("info", "debug, info, warning or error", "ALGORITHMIA_LOG_LEVEL")
    background: bool = _setting(False, "started on demand by the SDK or CLI (internal)")

    @property
    def state(self) -> Path:
        """The platform's own directory: database, blobs, logs, lock and runtime file."""
        return self.home / "platform"

    @property
    def database_url(self) -> str | URL:
        from sqlalchemy import URL

        # Not pasted into a text: a question mark in the path would begin the query.
        return self.database or URL.create("sqlite", database=str(self.state / "platform.db"))

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **overrides: Any) -> Settings:
        """Settings from `environ`; an override that is not None wins.

        Raises ValueError naming the variable whose value does not parse.
        """
        values: dict[str, Any] = {}
        for item in fields(cls):
            variable = item.metadata.get("variable")
            if variable and environ.get(variable):
                values[item.name] = cls._parse(item.name, environ[variable], variable)
        values.update({name: value for name, value in overrides.items() if value is not None})
        settings = cls(**values)
        try:
            settings.home = settings.home.expanduser()  # as the SDK does, so that both mean the same directory
        except RuntimeError:
            raise ValueError(f"there is no home directory for {settings.home}; choose a --home") from None
        return settings

    @classmethod
    def _parse(cls, name: str, text: str, variable: str) -> Any:
        kind = {item.name: item.type for item in fields(cls)}[name]
        try:
            if kind == "int":
                return int(text)
            if kind == "float":
                return float(text)
        except ValueError:
            raise ValueError(f"{variable}={text!r} is not a number") from None
        return Path(text) if kind == "Path" else text
