"""The platform as a process: arguments, lock, socket, first start, uvicorn, signals, idle stop.

`algo serve` runs it in the foreground; `Algorithmia.local` starts it in the background with ``--background``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import gc
import getpass
import ipaddress
import json
import logging
import os
import re
import signal
import socket
import ssl
import sys
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Any

from .. import config, local
from .._version import __version__
from ..errors import ApiError
from . import logs
from .errors import ApiProblem
from .settings import Settings
from .storage.locations import StorageProblem

if TYPE_CHECKING:
    from .platform import Platform

log = logging.getLogger("algorithmia.server")

_LOCK_PATIENCE = 3.0
_MOST_GATEWAYS = 64


class StartError(Exception):
    """The platform can't start as asked; the message says why and what to do."""


def main(argv: list[str] | None = None) -> int:
    """Run the platform until it is told to stop; returns the exit status."""
    arguments = build_parser().parse_args(argv)
    try:
        settings = Settings.from_environment(os.environ, **vars(arguments))
        serve(settings)
    except (StartError, ApiError, ApiProblem, ValueError) as problem:
        print(f"algo serve: {problem}", file=sys.stderr)
        return 1
    except StorageProblem as problem:
        print(f"algo serve: {problem}", file=sys.stderr)
        return 2
    except OSError as problem:
        where = problem.filename or settings.home
        print(
            f"algo serve: can't use {where}: {problem.strerror or problem}. Repair it, or choose another --home",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command line of `algo serve`, made from the settings table."""
    parser = argparse.ArgumentParser(prog="algo serve", description="Run a platform in the foreground.")
    for item in fields(Settings):
        flag = "--" + item.name.replace("_", "-")
        text = item.metadata["help"]
        if item.metadata.get("variable"):
            text += f" (environment: {item.metadata['variable']})"
        if item.type == "bool":
            parser.add_argument(flag, action="store_const", const=True, default=None, help=argparse.SUPPRESS)
            continue
        kind = {"int": int, "float": float, "Path": Path}.get(str(item.type), str)
        parser.add_argument(flag, type=kind, default=None, metavar=item.name.upper(), help=text.replace("%", "%%"))
    return parser


def serve(settings: Settings) -> None:
    """Run the platform until SIGTERM, SIGINT or idle stop. Raises StartError."""
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise StartError("--tls-cert and --tls-key go together; give both or neither")
    if not 0 <= settings.gateways <= _MOST_GATEWAYS:
        raise StartError(f"--gateways {settings.gateways}: choose a number from 0 to {_MOST_GATEWAYS}")
    check_certificate(settings)
    os.umask(0o077)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        # What was started in the background ignores these, and so would each algorithm: handlers aren't inherited.
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with server_lock(settings):
        logs.set_up(settings)
        listener = _listen(settings)
        # Algorithms reach the platform over plain loopback, also when people reach it over TLS.
        inner = _bind("127.0.0.1", 0) if settings.tls_cert else None
        local_address = "http://%s:%d" % _reachable(inner or listener)
        public_address = "%s://%s:%d" % ("https" if settings.tls_cert else "http", *_reachable(listener))

        platform = _prepared(settings, local_address)
        first = _first_start(platform, local_address)
        runtime = settings.state / "server.json"
        # uvicorn repeats the signal after its shutdown; by then everything has ended in order.
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        try:
            _run_loop(_run(platform, listener, inner, public_address, local_address, first, runtime))
        finally:
            runtime.unlink(missing_ok=True)


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    """asyncio.run, on the faster loop where that is installed."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def _prepared(settings: Settings, address: str) -> Platform:
    """The platform with its database and files up to date. Raises StartError."""
    from .engine.sandbox import NoSandbox, detect

    with ThreadPoolExecutor(1) as beside:  # it waits for a process; what follows keeps the processor busy
        sandbox = beside.submit(detect, settings.sandbox, [settings.home])

        from sqlalchemy.exc import ArgumentError, DatabaseError

        from .db.database import UnknownSchema
        from .platform import Platform

    try:
        platform = Platform(settings, address, sandbox.result())
    except (ArgumentError, ImportError) as problem:  # no URL, or no driver for it
        raise StartError(f"can't use the --database: {problem}") from None
    except NoSandbox as problem:
        raise StartError(str(problem)) from None
    try:
        platform.prepare()
    except UnknownSchema as problem:
        raise StartError(str(problem)) from None
    except DatabaseError as problem:
        where = platform.database.url.render_as_string(hide_password=True)
        raise StartError(f"can't use the database {where}: {problem.orig}") from None
    return platform


async def _run(
    platform: Platform,
    listener: socket.socket,
    inner: socket.socket | None,
    public_address: str,
    local_address: str,
    first: bool,
    runtime: Path,
) -> None:
    import uvicorn
    from uvicorn.server import ServerState

    from .connections import adopter, allow_many_connections, close_stalled, uvicorn_options
    from .platform import create_application

    settings = platform.settings
    application = create_application(platform)
    options = uvicorn_options(settings.shutdown_timeout)
    loop = asyncio.get_running_loop()
    gateways: Gateways | None = None
    problems: list[str] = []

    class Server(uvicorn.Server):
        """uvicorn, saying when it is ready; with gateways, they have the connections."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if gateways is not None and not self.should_exit:
                try:
                    await gateways.start()
                except (OSError, GatewayStartError) as problem:
                    problems.append(str(problem))
                    self.should_exit = True
            # What start-up has made stays: nobody need look for garbage in it while callers wait. And what a few dozen
            # calls in flight have in memory, which goes with them, is no reason to look for any.
            gc.freeze()
            gc.set_threshold(10_000, 20, 50)
            if not self.should_exit:
                _announce(settings, public_address, local_address, first, runtime)
                platform.take_up()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            runtime.unlink(missing_ok=True)  # nobody new is sent here while calls in flight finish
            platform.invoker.begin_shutdown()
            platform.git_bridge.begin_shutdown()
            platform.builds.begin_shutdown()
            # `inner` stays open in any case. With no call to finish, connections are refused: clients start a platform
            # of their own then.
            if inner is None and (platform.invoker.has_calls or len(platform.lending)):
                from .last_requests import LastRequests

                last = LastRequests(application, platform.authenticator.is_session, options)
                platform.on_drained = last.close
                await last.open(listener)
            if gateways is not None:
                self.config.timeout_graceful_shutdown = int(await gateways.stop())
            await super().shutdown(sockets)

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            super().handle_exit(sig, frame)
            if self.force_exit and gateways is not None:
                loop.call_soon_threadsafe(gateways.give_up)

    server = Server(
        uvicorn.Config(
            application, ssl_certfile=settings.tls_cert, ssl_keyfile=settings.tls_key, lifespan="on", **options
        )
    )
    allow_many_connections()
    if platform.lent_calls is not None:
        from .gateway.supervisor import Gateways, GatewayStartError

        tasks_of_requests = server.server_state.tasks
        gateways = Gateways(settings, listener, application, tasks_of_requests, platform.lent_calls)
    tasks = []
    if inner is not None:
        inner_server = uvicorn.Server(uvicorn.Config(application, lifespan="off", **options))
        inner_server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
        tasks.append(asyncio.create_task(inner_server.serve(sockets=[inner])))
    # Algorithms keep their connections while the server waits for those of callers.
    of_workers = ServerState()
    platform.engine.adopt = adopter(server, of_workers)
    if settings.background and settings.idle_timeout > 0:
        tasks.append(asyncio.create_task(_stop_when_idle(server, platform)))
    if settings.request_timeout > 0:
        for state in (server.server_state, of_workers):
            tasks.append(asyncio.create_task(close_stalled(state.connections, settings.request_timeout)))
    try:
        await server.serve(sockets=[listener] if gateways is None else [])
    except SystemExit:
        raise StartError("the server did not start; the log says why") from None
    finally:
        if inner is not None:
            inner_server.should_exit = True
            await tasks[0]
        for task in tasks:
            task.cancel()
    if problems or not server.started:
        raise StartError(problems[0] if problems else "the server did not start; the log says why")


async def _stop_when_idle(server: Any, platform: Platform) -> None:
    limit = platform.settings.idle_timeout
    while not server.should_exit:
        await asyncio.sleep(max(0.05, min(limit / 4, limit - platform.idle_for(), 30.0)))
        if platform.idle_for() >= limit:
            log.info("stopping after %s seconds without a request", limit)
            server.should_exit = True


@contextlib.contextmanager
def server_lock(settings: Settings, makes_room: bool = True) -> Iterator[None]:
    """Hold the lock that makes this the one platform of its home directory. Raises StartError.

    makes_room  whether a platform that was started on demand is stopped for this one
    """
    path = settings.state / "server.lock"
    with open(path, "a") as handle:
        if not _try_lock(handle):
            running = local.running(str(settings.home)) or {}
            if settings.background or not makes_room or not running.get("background"):
                where = running.get("address", "another address")
                raise StartError(f"a platform already runs at {where} for {settings.home}; stop it: algo local stop")
            # The one started on demand makes room for the one that somebody runs on purpose.
            local.stop(str(settings.home))
            if not _try_lock(handle):
                raise StartError(f"another platform just started for {settings.home}; try again")
        yield


def _try_lock(handle: IO[str]) -> bool:
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            # Somebody who only looks holds the lock for microseconds; a platform says what it is in server.json.
            if time.monotonic() > deadline or local.running(str(Path(handle.name).parent.parent)):
                return False
            time.sleep(0.01)


def _listen(settings: Settings) -> socket.socket:
    remembered = settings.state / "port"
    if settings.background and settings.port == 0:
        # The address of last time, if it is free: profiles and scripts that have it stay right.
        with contextlib.suppress(OSError, ValueError, StartError):
            return _bind(settings.host, int(remembered.read_text()))
    listener = _bind(settings.host, settings.port)
    if settings.background:
        remembered.write_text(str(listener.getsockname()[1]))
    return listener


def _bind(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:  # getaddrinfo would take the rest of a division
        raise StartError(f"--port {port}: choose one from 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With the protocol spelt out, event loops turn off Nagle's algorithm on its connections.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except (OSError, OverflowError, UnicodeError) as error:
        raise StartError(f"can't listen on {host}:{port}: {error}. Choose another --host or --port") from None
    listener.setblocking(False)
    return listener


def _reachable(listener: socket.socket) -> tuple[str, int]:
    """Host and port by which this machine reaches `listener`."""
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return (f"[{host}]" if ":" in host else host), port


def _announce(settings: Settings, public: str, address: str, first: bool, runtime: Path) -> None:
    document = {
        "pid": os.getpid(),
        "address": address,
        "public_address": public,
        "version": __version__,
        "background": settings.background,
        "started_at": time.time(),
    }
    temporary = runtime.with_suffix(".tmp")
    temporary.write_text(json.dumps(document))
    temporary.replace(runtime)
    log.info("serving", extra={"address": public})
    if settings.background:
        print("ready first" if first else "ready", flush=True)
        with open(os.devnull, "wb") as nothing:  # the reader goes away now
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        return
    if not settings.tls_cert and settings.host not in ("127.0.0.1", "::1", "localhost"):
        print(
            f"warning: {settings.host} is reachable from other machines and the traffic, keys included, is not "
            "encrypted: use --tls-cert and --tls-key, or a TLS proxy in front",
            file=sys.stderr,
            flush=True,
        )
    print(f"Serving on {public}", flush=True)


def _first_start(platform: Platform, address: str) -> bool:
    """Make sure that profiles `local` and `local-admin` hold this address and keys that work.

    Returns whether the account was made just now.
    """
    from .identity import ADMIN_KEY, STANDARD_KEY, KeyPermissions

    path = str(platform.settings.home / "config")
    profiles = config.load_profiles(path)
    empty = config.Profile()
    profile, admin = profiles.get("local", empty), profiles.get("local-admin", empty)
    known = platform.accounts.find_identity(profile.api_key) if profile.api_key else None
    known_admin = platform.accounts.find_identity(admin.api_key) if admin.api_key else None
    name = platform.settings.user or (known.account.username if known else account_name(_operating_system_user()))
    key, admin_key = profile.api_key, admin.api_key
    is_own = known is not None and known.account.username.lower() == name.lower()
    if not is_own or known_admin is None:
        account = platform.accounts.ensure_account(name)
        if not is_own:
            everything = KeyPermissions.everything()
            key = platform.accounts.create_key(account, "default-key", everything, STANDARD_KEY)
        if known_admin is None:
            admin_key = platform.accounts.create_key(account, "platform-admin", KeyPermissions(), ADMIN_KEY)
    for profile_name, before, api_key in (("local", profile, key), ("local-admin", admin, admin_key)):
        after = config.Profile(api_key=api_key, api_server=address)
        if before != after:
            config.save_profile(profile_name, after, path)
    return known is None


def _operating_system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that nobody has named
        return str(os.getuid())


def account_name(user: str) -> str:
    """The operating system user's name as a valid account name."""
    from .catalog import owners
    from .services.accounts import RESERVED_NAMES

    name = re.sub(r"[^a-zA-Z0-9_]", "_", user)
    name = name if name[:1].isalpha() else "user_" + name
    return f"{name[:25]}_user" if name.lower() in {*owners(), *RESERVED_NAMES} else name[:30]


def check_certificate(settings: Settings) -> None:
    """Raises StartError unless the TLS files can be used."""
    if settings.tls_cert:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_cert, settings.tls_key)
        except (OSError, ssl.SSLError) as error:
            files = f"--tls-cert {settings.tls_cert} with --tls-key {settings.tls_key}"
            raise StartError(f"can't use {files}: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
