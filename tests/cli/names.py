"""Names of algorithms that no other test, and no other run, has used."""
import itertools
import os

_counter = itertools.count(1)


def fresh_name(prefix="Life"):
    return "%s%d_%d" % (prefix, os.getpid(), next(_counter))
