"""Clients that were published for the closed service: installing them from their registries, and running processes.

Installations are kept between runs in the directory that the environment variable ALGORITHMIA_TEST_CACHE names, if any.
"""
import os
import shutil
import subprocess

from platforms import Completed


def minimal_environment(home, **variables):
    """The environment of a process that shall find nothing of the person's: a PATH, a home, and `variables`."""
    path = os.environ.get("PATH", os.defpath)
    return dict({"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}, **variables)


def installed(tmpdir_factory, name, install):
    """The directory that ``install(directory)`` has filled: from the cache under `name`, or made now."""
    cache = os.environ.get("ALGORITHMIA_TEST_CACHE")
    directory = os.path.join(os.path.abspath(cache), name) if cache else str(tmpdir_factory.mktemp("client").join(name))
    ready = os.path.join(directory, "installed")
    if not os.path.exists(ready):
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        install(directory)
        open(ready, "w").close()
    return directory


def install_with(*command):
    """Run an installer with the person's own settings (registries, proxies); its whole output explains a failure."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")


def run(command, environment, cwd, stdin=b""):
    """Run `command` in `cwd` with just `environment`."""
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        cwd=str(cwd),
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=180,
    )
    return Completed(done.stdout, done.stderr, done.returncode)
