"""What is done to a platform's files while it doesn't run: `algo local fsck` and `algo local migrate-storage`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ApiError
from .errors import ApiProblem
from .main import StartError, server_lock
from .settings import Settings
from .storage import locations
from .storage.locations import Location, StorageProblem

if TYPE_CHECKING:
    from .db.database import Database


def main(argv: list[str] | None = None) -> int:
    """Run one of the commands; the exit status is 1 when something was found or is left to do."""
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings.from_environment(os.environ, home=arguments.home, database=arguments.database)
        run: Callable[[argparse.Namespace, Settings], int] = arguments.run
        with _stopped(settings):
            return run(arguments, settings)
    except StorageProblem as problem:
        return _failed(arguments, str(problem), 2)
    except (StartError, ApiError, ApiProblem, ValueError) as problem:
        return _failed(arguments, str(problem), 1)
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        return _failed(arguments, f"{where}{problem.strerror or problem}", 1)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--home", type=Path, help="directory of the platform's state (environment: ALGORITHMIA_HOME)")
    common.add_argument("--database", help="SQLAlchemy URL, if it's not in there (environment: ALGORITHMIA_DATABASE)")
    common.add_argument("--json", action="store_true", help="print the result as a JSON object")
    common.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")
    parser = argparse.ArgumentParser(prog="algo local")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    fsck = commands.add_parser("fsck", parents=[common], help="check that metadata and bytes agree")
    fsck.add_argument("--checksum", action="store_true", help="also read all contents and compare their checksums")
    fsck.add_argument("--repair", action="store_true", help="move aside what no file needs, and correct counts")
    fsck.set_defaults(run=_fsck, name="fsck")
    migrate = commands.add_parser("migrate-storage", parents=[common], help="copy all contents to another store")
    migrate.add_argument("to", metavar="TO", help="local, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX")
    migrate.set_defaults(run=_migrate, name="migrate-storage")
    return parser


def _fsck(arguments: argparse.Namespace, settings: Settings) -> int:
    from .services import store_owner, stored_files
    from .services.storage_check import StorageCheck

    location = _current(settings)
    with _database(settings) as database:
        blobs = locations.open_store(location, settings.state)
        store_owner.check(settings.state, database, blobs, location, is_known=arguments.repair)
        with _progress(arguments, stored_files.total(database)[0]) as progress:
            check = StorageCheck(
                database,
                blobs,
                checksums=arguments.checksum,
                repairs=arguments.repair,
                shared=settings.database is not None,
                progress=progress,
            )
            findings = []
            for finding in check.findings():
                findings.append(finding)
                if not arguments.json:
                    done = " [repaired]" if finding.repaired else ""
                    print(f"{finding.kind:<13} {finding.subject}: {finding.said}{done}", flush=True)
    left = sum(not finding.repaired for finding in findings)
    if arguments.json:
        found = {"storage": str(location), "files": check.files, "bytes": check.bytes, "leftovers": check.leftovers}
        print(json.dumps({**found, "ok": left == 0, "findings": [finding.document() for finding in findings]}))
    elif not arguments.quiet:
        how = "read and compared" if arguments.checksum else "looked at"
        words = [f"{check.files} files ({check.bytes} bytes) in {location} {how}"]
        repaired = f", {len(findings) - left} of them repaired" if arguments.repair else ""
        words.append(f"{len(findings)} findings{repaired}" if findings else "all is well")
        if check.leftovers:
            words.append(f"{check.leftovers} leftovers that the next start removes")
        print("; ".join(words), file=sys.stderr)
    return 1 if left else 0


def _migrate(arguments: argparse.Namespace, settings: Settings) -> int:
    from .services import store_owner, stored_files
    from .services.storage_move import StorageMove

    source, target = _current(settings), locations.parse(arguments.to)
    if source == target:
        raise StorageProblem(f"this platform's files are in {target} already")
    with _database(settings) as database:
        old, new = (locations.open_store(location, settings.state) for location in (source, target))
        owner = store_owner.check(settings.state, database, old, source, is_known=True)
        store_owner.check(settings.state, database, new, target)
        if owner.id:
            store_owner.claim(new, owner.id)
        with _progress(arguments, stored_files.total(database)[0]) as progress:
            move = StorageMove(database, old, new, progress)
            left = []
            for problem in move.copy():
                left.append(problem)
                if not arguments.json:
                    print(f"{problem.uri}: {problem.said}", flush=True)
    if not left:
        locations.remember(settings.state, target)
    if arguments.json:
        documents = [{"subject": problem.uri, "said": problem.said} for problem in left]
        found = {"from": str(source), "to": str(target), "files": move.files, "bytes": move.bytes}
        print(json.dumps({**found, "copied": move.files - move.skipped, "done": not left, "left": documents}))
    elif left:
        print(
            f"{len(left)} files could not be copied, {move.files} could; the platform stays with {source}. Bring these "
            "back from a backup, or start it and delete them, and repeat this command",
            file=sys.stderr,
        )
    elif not arguments.quiet:
        print(
            f"{move.files} files ({move.bytes} bytes) are in {target} now, {move.files - move.skipped} of them copied "
            f"just now. From now on start the platform with --storage {target} (or ALGORITHMIA_STORAGE={target}). "
            f"What is in {source} is untouched: remove it when you don't need it any more",
            file=sys.stderr,
        )
    return 1 if left else 0


@contextlib.contextmanager
def _stopped(settings: Settings) -> Iterator[None]:
    """No platform runs in the meantime. Raises StartError when one does, or when there is nothing to look after."""
    if not settings.database and not (settings.state / "platform.db").exists():
        raise StartError(f"there is no platform in {settings.home}; choose its --home, or --database")
    settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    before = os.umask(0o077)
    try:
        with server_lock(settings, makes_room=False):
            yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    from sqlalchemy.exc import ArgumentError, DatabaseError

    from .db.database import Database, UnknownSchema

    try:
        database = Database(settings.database_url)
    except (ArgumentError, ImportError) as problem:
        raise StartError(f"can't use the --database: {problem}") from None
    try:
        database.upgrade()
        yield database
    except UnknownSchema as problem:
        raise StartError(str(problem)) from None
    except DatabaseError as problem:
        where = database.url.render_as_string(hide_password=True)
        raise StartError(f"can't use the database {where}: {problem.orig}") from None
    finally:
        database.close()


def _current(settings: Settings) -> Location:
    """Where the files are: the platform remembers it, unless it has never run from this home."""
    return locations.remembered(settings.state) or locations.parse(settings.storage)


@contextlib.contextmanager
def _progress(arguments: argparse.Namespace, total: int) -> Iterator[Callable[[int, int], None]]:
    """What shows on a terminal how far it is."""
    if arguments.quiet or not sys.stderr.isatty():
        yield lambda files, size: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda files, size: None
        return
    with tqdm(total=total, unit=" files", leave=False, dynamic_ncols=True, delay=0.5) as bar:
        yield lambda files, size: bar.update(files - bar.n) and None


def _failed(arguments: argparse.Namespace, message: str, status: int) -> int:
    print(f"algo local {arguments.name}: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
