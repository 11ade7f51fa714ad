"""What an object store's refusals and failures mean here; nothing that could be a secret is passed on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Unavailable

log = logging.getLogger("algorithmia.storage")


class StoreUnavailable(Unavailable, OSError):
    """503: the object store doesn't answer, or refuses."""


@contextmanager
def translated() -> Iterator[None]:
    """Raises StoreUnavailable for whatever goes wrong in the store, but FileNotFoundError for what isn't there."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as problem:
        raise FileNotFoundError(told(problem)) from None
    except (BaseError, OSError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise  # of a file on this machine
        log.error("the object store: %s", told(problem))
        raise StoreUnavailable("the platform's file store can't be reached just now; try again later") from None


def told(problem: BaseException) -> str:
    """What the store said, in one line, without documents and queries of addresses: those can hold signatures."""
    text = re.sub(r"\?\S*", "?...", str(problem).partition("\n")[0].partition("<")[0]).rstrip(": ")
    # The code that S3, Google and Azure put into their answers says more than the status.
    code = re.search(r"<Code>(\w+)</Code>", str(problem))
    return text[:400] + (f" ({code[1]})" if code and code[1] not in text else "")
