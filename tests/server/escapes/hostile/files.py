"""Algorithms that look for what is not theirs on the disk, or leave there what isn't asked for."""

import os
import stat
import subprocess

from .attempts import attempt, look, processes


def reads_by_name(paths):
    """Every path that it was told of, and what came of reading it."""
    return {path: attempt(look, path) for path in paths}


def reads_through_proc(paths):
    """The same paths below the roots, directories and descriptors of every process; those that could be read."""
    found = []
    for pid in processes():
        places = ["/proc/%d/root" % pid, "/proc/%d/cwd/.." % pid]
        try:
            places += ["/proc/%d/fd/%s" % (pid, name) for name in os.listdir("/proc/%d/fd" % pid)]
        except OSError:
            pass
        for place in places:
            found += [place + path for path in paths if attempt(look, place + path) == "done"]
    return found


def walks_the_state(state):
    """Files in sight below the state directory that aren't its own, or the SDK's."""
    own = os.getcwd()
    found = []
    for directory, _, files in os.walk(state):
        if not directory.startswith((own, os.path.join(state, "environments"))):
            found += [os.path.join(directory, name) for name in files]
    return found


def follows_the_mounts(state):
    """Files that the kernel's list of mounts leads to, below the state directory and not its own."""
    found = []
    with open("/proc/self/mountinfo") as mounts:
        hints = {field for line in mounts for field in line.split() if field.startswith(state)}
    places = {os.path.dirname(hint) for hint in hints} | {os.path.dirname(os.path.dirname(hint)) for hint in hints}
    for place in places:
        for directory, names, files in os.walk(place):
            names[:] = [n for n in names if os.path.join(directory, n) not in hints]
            found += [os.path.join(directory, name) for name in files if os.path.join(directory, name) not in hints]
    return found


def reads_environments(mark):
    """Environments and command lines of all processes: those with `mark` in them, and how many processes there are."""
    found = []
    for pid in processes():
        for name in ("environ", "cmdline", "auxv", "maps"):
            try:
                with open("/proc/%d/%s" % (pid, name), "rb") as handle:
                    if mark.encode() in handle.read():
                        found.append("%d/%s" % (pid, name))
            except OSError:
                pass
    return {"processes": len(processes()), "found": found}


def links_out(paths):
    """Links of both kinds in its own directory to what lies outside, and what came of reading through them."""
    found = {}
    for number, path in enumerate(paths):
        link, hard = "/tmp/link%d" % number, "/tmp/hard%d" % number
        os.symlink(path, link)
        found[path] = [attempt(look, link), attempt(os.link, path, hard)]
    # Its own code may be read, but not be made another name for.
    found["own"] = attempt(os.link, __file__, "/tmp/own")
    return found


def writes_outside(paths):
    """A new file in each directory, and its own code changed."""
    found = {path: attempt(open, path + "/x", "w") for path in paths}
    # As another user it isn't allowed to, as the platform's own it would be if it could be written to.
    found["code"] = attempt(open, __file__, "a").replace("EACCES", "EROFS")
    found["mode"] = attempt(os.chmod, __file__, 0o777)
    found["removed"] = attempt(os.unlink, __file__)
    found["times"] = attempt(os.utime, __file__)
    return found


def writes_to_the_kernel(paths):
    """Switches of the kernel that it could turn; none must be."""

    def write(path):
        with open(path, "w") as handle:
            handle.write("1")

    return [path for path in paths if attempt(write, path) == "done"]


def makes_devices(numbers):
    """Device files, and those that are there: what could be made or opened."""
    found = []
    for name, (kind, major, minor) in sorted(numbers.items()):
        mode = {"c": stat.S_IFCHR, "b": stat.S_IFBLK}[kind] | 0o666
        if attempt(os.mknod, "/tmp/" + name, mode, os.makedev(major, minor)) != "EPERM":
            found.append("made " + name)
        if attempt(open, "/dev/" + name, "rb") != "ENOENT":
            found.append("opened " + name)
    return found


def uses_setuid_programs(input):
    """Users as which programs run that should run as somebody else; and one of its own making."""
    found = set()
    programs = [os.path.join("/usr/bin", name) for name in os.listdir("/usr/bin")]
    programs = [path for path in programs if os.path.exists(path) and os.stat(path).st_mode & 0o6000]
    subprocess.check_call(["cp", "/bin/cat", "/tmp/cat"])
    os.chmod("/tmp/cat", 0o6755)
    for path in programs + ["/tmp/cat"]:
        try:
            child = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError:
            continue
        with open("/proc/%d/status" % child.pid) as status:
            fields = dict(line.split(":", 1) for line in status)
        found.update(int(user) for user in fields["Uid"].split())
        child.kill()
        child.communicate()
    return [user == os.getuid() for user in found]


def inherits_descriptors(input):
    """What kinds of things it has open: input, output, the socket to the platform."""
    kinds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + name)
        except OSError:
            continue  # the listing's own
        kinds[int(name)] = target.partition(":[")[0]
    return [kinds[number] for number in sorted(kinds)]


def leaves_things_for_others(input):
    """What others left in its directories; and something for those who come next."""
    found = []
    for place in ("/tmp", "/dev/shm", "/var/tmp"):
        if os.path.isdir(place):
            found += [name for name in os.listdir(place) if name.startswith("loot")]
            attempt(open, place + "/loot", "w")
    return found
