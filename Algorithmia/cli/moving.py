"""Moving the files that `cp`, `sync` and `mv` have planned: several at a time, small ones in company."""
import contextlib
import os
import time

from .. import errors
from ..parallel import Crew, Stopped
from . import exit_status, failures, output
from .context import CliError
from .ending import in_good_order
from .progress import Progress

UPLOAD, DOWNLOAD, COPY = "upload", "download", "copy"
PIPE = "-"
_FINISHED = {UPLOAD: "Finished uploading", DOWNLOAD: "Finished downloading", COPY: "Finished copying"}
_LONG = 2.0  # seconds from which on one wants to know how long it took


class Job(object):
    """One file to move.

    kind, source, target  local paths, data URIs or ``-``
    size                  bytes, if known
    is_new                whether it is known that there is no target
    """

    def __init__(self, kind, source, target, size=None, is_new=False):
        self.kind = kind
        self.source = source
        self.target = target
        self.size = size
        self.is_new = is_new


class Options(object):
    """How to move.

    concurrency     files at once
    no_clobber      leave alone what exists
    checksum        leave alone what has the same content
    dry_run         only say what would be done
    tells_skipped   say what is left alone
    removes_source  remove what has been moved, once it is certain that it has
    """

    def __init__(
        self, concurrency=8, no_clobber=False, checksum=False, dry_run=False, tells_skipped=True, removes_source=False
    ):
        self.concurrency = concurrency
        self.no_clobber = no_clobber
        self.checksum = checksum
        self.dry_run = dry_run
        self.tells_skipped = tells_skipped
        self.removes_source = removes_source


class Moved(object):
    """What a job came to: `size` in bytes where that is known, or why it was `skipped`."""

    def __init__(self, size=None, skipped=None):
        self.size = size
        self.skipped = skipped


def move(client, jobs, options, env):
    """Do `jobs`; returns the exit status of the first that failed."""
    with in_good_order():
        return _move(client, jobs, options, env)


def _move(client, jobs, options, env):
    done = {UPLOAD: 0, DOWNLOAD: 0, COPY: 0}
    status, moved_bytes, began = exit_status.OK, 0, time.time()
    to_pipe = any(job.target == PIPE for job in jobs)
    # When the content itself goes to standard output, what is said about it goes to standard error.
    say = env.note if to_pipe else env.done
    total = sum(job.size or 0 for job in jobs)  # to which downloads add what they find
    crew = Crew(1 if to_pipe or options.dry_run else options.concurrency)
    with Progress(env, None if options.dry_run else total or None) as progress, _telling_what_is_kept(env):

        def moved(count):
            # type: (int) -> None
            crew.check()
            progress(count)

        for job, result, error in _outcomes(client, jobs, options, env, crew, moved, progress):
            if error is None:
                if result.skipped:
                    if options.tells_skipped:
                        progress.around(env.note, "Skipped %s: %s" % (_place(job), result.skipped))
                    continue
                done[job.kind] += 1
                moved_bytes += result.size or 0
                progress.around(say, _said(job, result.size, options))
            elif isinstance(error, (errors.ApiError, IOError, OSError, CliError)) and not _ends_everything(error):
                failed = failures.report(error, env)
                status = status or failed
            elif not isinstance(error, Stopped):
                raise error
    if options.dry_run:
        return status
    for kind in (UPLOAD, DOWNLOAD, COPY):
        if done[kind] and not options.removes_source:
            say("%s %d file(s)" % (_FINISHED[kind], done[kind]))
    _summarize(env, sum(done.values()), moved_bytes, time.time() - began)
    return status


@contextlib.contextmanager
def _telling_what_is_kept(env):
    """Within it, an interruption says so if something goes on where it was when the same is said again."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, errors.UnreachableError):
        from .. import transfer

        if transfer.is_to_be_continued():
            env.note("What has come of large files is kept: the same command, said again, goes on there.")
        raise


def _summarize(env, files, size, seconds):
    if files > 1 or (files and seconds > _LONG):
        rate = output.human_size(int(size / seconds)) if seconds > 0.001 else "-"
        env.note("%d file(s), %sB in %.1f s (%sB/s)" % (files, output.human_size(size), seconds, rate))


def _ends_everything(error):
    # type: (BaseException) -> bool
    """Whether the other jobs would only fail in the same way."""
    return isinstance(error, (errors.AuthenticationError, errors.UnreachableError, errors.ConfigError))


def _outcomes(client, jobs, options, env, crew, progress, bar):
    """Do `jobs`; yields ``(job, Moved, error)`` as they finish."""
    from ..small_files import Company, small

    if options.no_clobber or options.checksum:
        wanted = set()
        for job, reason, error in crew.run(jobs, lambda job: _reason_to_skip(client, job, options)):
            if error or reason:
                yield job, Moved(skipped=reason), error
            else:
                wanted.add(job)
        jobs = [job for job in jobs if job in wanted]
    company = Company(client)
    one_by_one = options.dry_run or options.removes_source

    def describe(job):
        if one_by_one or job.kind == COPY or PIPE in (job.source, job.target):
            return None
        return small(*((job.target, job.source) if job.kind == UPLOAD else (job.source, job.target)), size=job.size)

    carry = company.send if any(job.kind == UPLOAD for job in jobs) else company.fetch  # there are never both

    def together(files):
        return carry(files, progress)

    def alone(job):
        return _do(client, job, options, env, progress, bar)

    for job, result, error in company.run(crew, jobs, describe, together, alone):
        yield job, result if error or isinstance(result, Moved) else Moved(result), error


def _do(client, job, options, env, progress, bar):
    if options.dry_run:
        return Moved(job.size)
    if not options.removes_source:
        return Moved(_move_one(client, job, env, progress, bar))
    from .removal import Source

    source = Source(client, job)
    size = _move_one(client, job, env, progress, bar)
    source.remove()
    return Moved(size)


def _reason_to_skip(client, job, options):
    if job.is_new or PIPE in (job.source, job.target):
        return None
    if options.no_clobber and _exists(client, job):
        return "it exists"
    if options.checksum and is_same(client, job):
        return "it is the same"
    return None


def _exists(client, job):
    if job.kind == DOWNLOAD:
        return os.path.lexists(job.target)
    return client.data_type(job.target) is not None


def is_same(client, job):
    """Whether source and target of `job` are known to have the same content; one request or two, of headers only."""
    from .. import digests

    try:
        if job.kind == DOWNLOAD:
            if not os.path.isfile(job.target):
                return False
            there = client.file(job.source).stat()
            path, size = job.target, os.path.getsize(job.target)
        else:
            there = client.file(job.target).stat()
            if job.kind == COPY:
                here = client.file(job.source).stat()
                return here.digest is not None and (here.digest, here.size) == (there.digest, there.size)
            path, size = job.source, os.path.getsize(job.source)
    except errors.NotFoundError:
        return False
    return there.digest is not None and there.size == size and digests.of_file(path, there.digest) == there.digest


def _move_one(client, job, env, progress, bar):
    """Move one file; returns its size where that is known afterwards."""
    from .. import transfer

    expect = bar.expect if job.size is None else None
    if job.kind == COPY:
        size = transfer.copy_remote(client, job.source, job.target, progress)
        return job.size if size is None else size
    if job.kind == UPLOAD and job.source == PIPE:
        transfer.upload_from(client, env.stdin, job.target, progress)
    elif job.kind == UPLOAD:
        transfer.upload(client, job.source, job.target, progress)
    elif job.target == PIPE:
        return transfer.download_to(client, job.source, env.stdout, progress, expect)
    elif os.path.exists(job.target) and not os.path.isfile(job.target):
        with open(job.target, "wb") as target:  # a device or a named pipe: it can't be replaced
            return transfer.download_to(client, job.source, target, progress, expect)
    else:
        return transfer.download(
            client, job.source, os.path.realpath(job.target), progress, expect, keep_time=True
        )
    return job.size


def _place(job):
    return job.source if job.kind == DOWNLOAD else job.target


def _said(job, size, options):
    if options.removes_source:
        return "%s %s to %s" % ("Would move" if options.dry_run else "Moved", job.source, job.target)
    if job.kind == UPLOAD:
        return "%s %s" % ("Would upload" if options.dry_run else "Uploaded", job.target)
    if job.kind == COPY:
        return "%s %s to %s" % ("Would copy" if options.dry_run else "Copied", job.source, job.target)
    if options.dry_run:
        return "Would download %s to %s" % (job.source, job.target)
    return "Downloaded %s (%sB)" % (job.source, output.human_size(size or 0))
