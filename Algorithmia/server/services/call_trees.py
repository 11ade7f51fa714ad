"""Calls and the calls that their algorithms make: how many at once, how deep, how many, and as whom algorithms act.

A call from outside is the root of a tree, which is a session too: its files and its key go when the last of its calls
has ended. Facts: "Sessions and calls between algorithms", "Limits" of the algorithm document. Everything here runs on
the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ..engine.base import Build
from ..errors import ApiProblem, NotAuthenticated, TooManyRequests, Unavailable
from ..identity import SESSION_KEY, CallContext, Identity, KeyPermissions
from ..request_ids import new_uuid
from ..settings import Settings

# What an algorithm may do for its caller, whatever the key of the call could: a key's limits don't bind the algorithms
# that it calls. Managing algorithms is nothing that a call implies.
_SESSION_PERMISSIONS = KeyPermissions(True, True, True, True, False, None, ("algo://*",))


class ChildCallLimit(ApiProblem):
    """429: the call tree has made all the calls that it may; waiting doesn't help."""

    status = 429


class CallDepthLimit(ApiProblem):
    """400: algorithms call each other in too long a chain; waiting doesn't help."""


class Tree:
    """One call from outside and the calls below it.

    active       calls of it that run
    children     calls that were made below it
    was_refused  whether one of them could not be made because the platform is about to stop
    """

    __slots__ = ("account_id", "active", "children", "session_id", "was_refused")

    def __init__(self, account_id: str, session_id: str) -> None:
        self.account_id = account_id
        self.session_id = session_id
        self.active = 1
        self.children = 0
        self.was_refused = False


class CallTrees:
    """The trees that run.

    in_flight   numbers of calls from outside, by account
    is_closed   whether no more calls from outside are taken
    on_end      told the account and the session of a tree whose last call has ended
    """

    def __init__(self, settings: Settings, on_end: Callable[[str, str], None]) -> None:
        self._settings = settings
        self._on_end = on_end
        self._trees: dict[str, Tree] = {}
        self.in_flight: dict[str, int] = {}
        self.is_closed = False

    def __len__(self) -> int:
        return len(self._trees)

    def is_live(self, session_id: str) -> bool:
        """Whether a call of the tree `session_id` still runs. May be asked from any thread."""
        return session_id in self._trees

    def enter(self, identity: Identity, build: Build) -> Tree:
        """Count one more call of `identity`, of `build`; its tree.

        Raises Unavailable, TooManyRequests, ChildCallLimit, CallDepthLimit, NotAuthenticated.
        """
        if identity.call is not None:
            tree = self._of(identity.call, build)
            tree.children += 1
            tree.active += 1
            return tree
        if self.is_closed:
            raise Unavailable("the platform is shutting down")
        running = self.in_flight.get(identity.account.id, 0)
        limit = self._settings.max_concurrent_calls
        if running >= limit:
            raise TooManyRequests(
                f"account {identity.account.username} has {running} calls in flight and the limit is {limit}; "
                "try again when one has ended"
            )
        return self.enter_anyway(identity.account.id)

    def enter_anyway(self, account_id: str) -> Tree:
        """The tree of one more call from outside, which counts as in flight. No limit refuses it."""
        self.in_flight[account_id] = self.in_flight.get(account_id, 0) + 1
        return self.plant(account_id)

    def plant(self, account_id: str) -> Tree:
        """The tree of something that acts for an account as a call would, and is none: `close` it."""
        tree = Tree(account_id, new_uuid())
        self._trees[tree.session_id] = tree
        return tree

    def _of(self, caller: CallContext, build: Build) -> Tree:
        """The tree of the call `caller`, in which it may call `build`. Raises as `enter` does."""
        tree = self._trees.get(caller.session_id)
        if tree is None:
            raise NotAuthenticated("the call that this session key was made for has ended")
        if caller.depth >= self._settings.max_call_depth:
            raise CallDepthLimit(
                f"algo://{build.owner}/{build.name} is not called: the call of algo://{caller.owner}/{caller.name} is "
                f"number {caller.depth} in a chain of algorithms that call each other, and no chain may have more than "
                f"{self._settings.max_call_depth}. See to it that the recursion ends sooner, or ask the operator for a "
                "larger --max-call-depth"
            )
        if tree.children >= self._settings.max_child_calls:
            raise ChildCallLimit(
                f"the algorithms below one call may make {self._settings.max_child_calls} calls, and they have"
            )
        return tree

    def leave(self, tree: Tree, identity: Identity) -> None:
        """A call that `enter` counted has ended."""
        if identity.call is None:
            running = self.in_flight[tree.account_id] - 1
            if running:
                self.in_flight[tree.account_id] = running
            else:
                del self.in_flight[tree.account_id]
        self.close(tree)

    def hold(self, identity: Identity) -> Callable[[], None]:
        """Have the tree of the call that `identity` acts in last until what this returns is called."""
        tree = self._trees.get(identity.call.session_id) if identity.call is not None else None
        if tree is None:
            return lambda: None
        tree.active += 1
        return partial(self.close, tree)

    def close(self, tree: Tree) -> None:
        """What `tree` was planted for has ended, or one of its calls."""
        tree.active -= 1
        if not tree.active:
            del self._trees[tree.session_id]
            self._on_end(tree.account_id, tree.session_id)


def acting(
    build: Build,
    owner_account_id: str,
    settings: Mapping[str, object],
    identity: Identity,
    tree: Tree,
    depth: int = 0,
) -> Identity:
    """As whom the algorithm acts: its caller, within this call. `depth` 0: one more than its caller's."""
    context = CallContext(
        tree.session_id,
        owner_account_id,
        build.owner,
        build.name,
        depth or (1 if identity.call is None else identity.call.depth + 1),
        settings.get("pipeline_enabled") is not False,
    )
    return Identity(identity.account, SESSION_KEY, identity.key_id, _SESSION_PERMISSIONS, context)
