"""Workers that are lent to gateways, which then give them calls and take their answers without this process.

Of a call of some microseconds, what this process does for it is most. So an account's calls of an algorithm that is
quick go from the gateway to a worker and back, as long as nothing about them is out of the ordinary: what takes longer,
fails, or asks the platform for something is handed over to this process in the middle of it, with the worker.

Lent is what nobody else needs: not when calls wait in line, nor when processes are short. Each gateway that has many
calls of a group gets a worker of its own; one more is kept for all other calls of the group, if there are any.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from ..identity import Identity
from .base import Back, Begun, Borrower, Call, CallFailure, Origin, Result
from .frames_results import result_of
from .frames_worker import FramesWorker
from .groups import Group
from .protocol import MAX_INLINE
from .worker import Worker

log = logging.getLogger("algorithmia.engine")

# So many calls within so many seconds make it worth while to lend a borrower a worker; for how long that is known.
_MANY, _WINDOW = 10, 0.1
_REMEMBERED = 1.0
# Seconds that a worker which is to be lent may take to end what it has.
_PATIENCE = 0.02
# After a worker was asked back because a call needed it: seconds without lending, and with one kept for such calls.
_PAUSE, _SPARE = 0.25, 60.0
# Seconds that a call must have for a borrower to make it, who doesn't look at its time.
_LEAST_TIMEOUT = 1.0
# Seconds in which a borrower gives back what it is asked for.
_LIMIT = 5.0
_GONE = "the worker process has ended"


class Loan:
    """A worker that a borrower has, see `worker.Loan`.

    back     done once the borrower has it no more: answers that wait for gateways to forget wait for this
    settled  done once it is known what it runs: its process's end and its session key wait for this

    Both at once if it came back idle. If it came back with a call, `settled` is done when that is run on or dropped.
    """

    def __init__(self, number: int, group: Group, worker: FramesWorker, borrower: Borrower) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.group = group
        self.worker = worker
        self.borrower = borrower
        self.back: asyncio.Future[None] = loop.create_future()
        self.settled: asyncio.Future[None] = loop.create_future()
        self.give_up: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def recall(self) -> None:
        """Have it given back."""
        if self._timer is None and not self.back.done() and self.give_up is not None:
            self.borrower.recall(self.number)
            self._timer = self.back.get_loop().call_later(_LIMIT, self.give_up)

    def come_back(self) -> None:
        """The borrower doesn't have it any more."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.back.done():
            self.back.set_result(None)

    def settle(self) -> None:
        """What it runs, if anything, is known."""
        self.come_back()
        if not self.settled.done():
            self.settled.set_result(None)


class _Interest:
    """What a borrower has called of a group of late."""

    __slots__ = ("calls", "eager_until", "since")

    def __init__(self, now: float) -> None:
        self.calls = 0
        self.since = now
        self.eager_until = 0.0


class _Terms:
    """What is lent of one group, and to whom it might be.

    after        when it may be lent again
    spare        until when one worker more is there than are lent
    recalled_at  when it was last asked back because a call needed it
    """

    __slots__ = ("after", "group", "interests", "loans", "number", "recalled_at", "spare", "uses_platform")

    def __init__(self, number: int, group: Group) -> None:
        self.number = number
        self.group = group
        self.loans: dict[Borrower, Loan] = {}
        self.interests: dict[Borrower, _Interest] = {}
        self.after = self.spare = 0.0
        self.recalled_at = -_SPARE
        self.uses_platform = False


class Lending:
    """The loans of one pool.

    release   takes a worker that isn't held by its loan any more
    grow      starts one more worker of a group, which loads for that identity
    may_lend  whether nobody has to do without workers
    recalled  done as what was asked back has come
    """

    def __init__(
        self,
        release: Callable[[Group, Worker], None],
        grow: Callable[[Group, Identity], None],
        may_lend: Callable[[], bool],
        limit: int,
    ) -> None:
        self._release = release
        self._grow = grow
        self._may_lend = may_lend
        self._limit = limit
        self._terms: dict[Group, _Terms] = {}
        self._loans: dict[int, Loan] = {}
        self._borrowers: set[Borrower] = set()
        self._number = 0
        self._is_closed = False
        self.recalled: set[asyncio.Future[None]] = set()

    def __len__(self) -> int:
        return len(self._loans)

    def add(self, borrower: Borrower) -> None:
        """One who may be lent workers, until it is `lost`."""
        self._borrowers.add(borrower)

    # -- lending --------------------------------------------------------------------------------------------------

    def consider(self, group: Group, call: Call, origin: Origin) -> None:
        """`call` has come from somebody who may be lent a worker of `group` for more of its kind."""
        if self._is_closed or not group.is_brief or call.wants_output or not call.is_awaited:
            return
        if len(call.body) > MAX_INLINE or call.timeout < _LEAST_TIMEOUT:
            return
        terms = self._terms.get(group)
        if terms is None:
            self._number += 1
            terms = self._terms[group] = _Terms(self._number, group)
        if terms.uses_platform:
            return
        borrower = origin.borrower
        if borrower not in self._borrowers:
            return  # it has gone
        origin.allow(terms.number)
        if borrower in terms.loans:
            return
        now = asyncio.get_running_loop().time()
        interest = terms.interests.get(borrower)
        if interest is None:
            interest = terms.interests[borrower] = _Interest(now)
        interest.calls += 1
        if interest.calls < _MANY:
            return
        if now - interest.since < _WINDOW:
            interest.eager_until = now + _REMEMBERED
        interest.calls, interest.since = 0, now
        if interest.eager_until > now and now >= terms.after:
            self._choose(terms, borrower, call.session, now)

    def _choose(self, terms: _Terms, borrower: Borrower, session: Identity, now: float) -> None:
        """Lend `borrower` a worker as soon as one is free, if there are enough."""
        group = terms.group
        eager = {other for other, interest in terms.interests.items() if interest.eager_until > now}
        lent = eager.union(terms.loans)
        # Those that call less, or have only just begun to, must not find that all are lent.
        recent = {other for other, interest in terms.interests.items() if now - interest.since < _REMEMBERED}
        wanted = len(lent) + (now < terms.spare or not recent <= lent)
        if group.waiting or not self._may_lend() or wanted > self._limit:
            return
        if len(group.workers) < wanted:  # those that load are of no use yet
            if group.size < wanted:
                self._grow(group, session)
            return
        if len(group.idle) > 1:  # the call that is to be made takes the last
            worker = group.idle[0]
            if isinstance(worker, FramesWorker) and worker.is_alive:
                group.idle.remove(worker)
                worker.hold()
                self._lend(terms, worker, borrower)
                return
        reservations = [worker.reservation for worker in group.workers if worker.is_alive and worker.reservation]
        if any(owner is borrower and until > now for owner, until in reservations):
            return
        for worker in (*reversed(group.idle), *group.workers):
            if isinstance(worker, FramesWorker) and worker.loan is None and worker.reservation is None:
                worker.reservation = borrower, now + _PATIENCE
                borrower.offer(terms.number)
                return

    def hand_over(self, group: Group, worker: Worker) -> bool:
        """Lend `worker`, which nobody holds any more, if it is reserved for somebody; whether it is lent."""
        terms = self._terms.get(group)
        if terms is None or worker.reservation is None:
            return False
        borrower, until = worker.reservation
        now = asyncio.get_running_loop().time()
        is_over = now > until or now < terms.after
        if group.waiting and not is_over:
            return False  # they were sent before
        worker.reservation = None
        if is_over or borrower in terms.loans or borrower not in self._borrowers or not self._may_lend():
            return False
        if not isinstance(worker, FramesWorker):
            return False
        worker.hold()
        return self._lend(terms, worker, borrower)

    def _lend(self, terms: _Terms, worker: FramesWorker, borrower: Borrower) -> bool:
        """Lend `worker`, held for that; if it can't be, it is as nobody holds it."""
        self._number += 1
        loan = Loan(self._number, terms.group, worker, borrower)
        ours, theirs, number = worker.lend()
        try:
            borrower.lend(loan.number, terms.number, worker.calls_left, number, (ours, theirs))
        except OSError as problem:
            log.debug("a worker can't be lent: %s", problem)
            terms.after = asyncio.get_running_loop().time() + _PAUSE
            worker.resume()
            self._release(terms.group, worker)
            return True
        loan.give_up = partial(self._give_up, loan)
        worker.loan = loan
        worker.session_key.ask = partial(self._ask, terms, loan)
        self._loans[loan.number] = terms.loans[borrower] = loan
        return True

    # -- asking back ----------------------------------------------------------------------------------------------

    def call_waits(self, group: Group, is_late: bool = False) -> bool:
        """A call waits for a worker of `group`: ask one back, if one is lent. Whether one comes back.

        is_late  it has waited for so long that another worker would be started for it"""
        terms = self._terms.get(group)
        if terms is None or not terms.loans:
            return False
        others = group.starting or any(worker.loan is None for worker in group.workers)
        if others and not (is_late and group.size >= self._limit):
            return False
        now = asyncio.get_running_loop().time()
        if now >= terms.after:  # else this is the same time
            if now - terms.recalled_at < _SPARE:  # once may be a borrower's that hadn't got its own yet
                terms.spare = now + _SPARE
            terms.after, terms.recalled_at = now + _PAUSE, now
        self.recall(terms.loans.values())
        return True

    def recall_all(self) -> None:
        """Ask everything back."""
        self.recall(tuple(self._loans.values()))

    def recall_of(self, group: Group) -> None:
        """Ask back what is lent of `group`."""
        terms = self._terms.get(group)
        if terms is not None:
            self.recall(terms.loans.values())

    def recall(self, loans: Iterable[Loan]) -> None:
        """Ask these back; `recalled` has them until they are."""
        for loan in loans:
            if not loan.back.done():
                self.recalled.add(loan.back)
                loan.back.add_done_callback(self.recalled.discard)
                loan.recall()

    async def _ask(self, terms: _Terms, loan: Loan) -> None:
        """The worker asks the platform for something: find out for which call."""
        terms.uses_platform = True
        loan.recall()
        await asyncio.shield(loan.settled)

    def _give_up(self, loan: Loan) -> None:
        """The borrower doesn't answer: whatever it has begun is lost."""
        log.error("a gateway doesn't give a worker back")
        self._end(loan)

    # -- coming back ----------------------------------------------------------------------------------------------

    def returned(self, borrower: Borrower, number: int, back: Back) -> None:
        """`borrower` has given back the worker of loan `number`."""
        loan = self._loans.get(number)
        if loan is None or loan.borrower is not borrower:
            return  # given up
        loan.worker.calls_left -= back.calls
        loan.worker.come_back(back.latest)
        loan.come_back()
        self._forget(loan)
        if back.is_slow:
            loan.group.note_long()
        if back.is_broken:
            loan.worker.kill()
        if back.begun is not None:
            self._loans[number] = loan
        else:
            self._settle(loan)

    async def go_on(self, call: Call, begun: Begun) -> Result:
        """Run a call on that has begun; see `Engine.call`."""
        if begun.answer is not None:
            kind, content_type, seconds, body = begun.answer
            return result_of(kind, content_type, seconds, body)
        loan = self._claim(begun)
        if loan is None:
            raise CallFailure(_GONE, "SystemError")
        worker, group = loan.worker, loan.group
        if group.account_id != call.session.account.id:
            worker.kill()
            self._settle(loan)
            raise CallFailure(_GONE, "SystemError")
        group.note_long()
        running = worker.adopt(call, begun.number, begun.seconds)
        self._take_back(loan)
        try:
            return await worker.outcome(running)
        finally:
            self._release(group, worker)

    def drop(self, begun: Begun) -> None:
        """Nobody runs this call on: end its worker, unless somebody does already."""
        loan = self._claim(begun)
        if loan is not None:
            loan.worker.kill()
            self._settle(loan)

    def _claim(self, begun: Begun) -> Loan | None:
        """The loan whose worker runs the call, once it has come back with it; nobody else gets it any more."""
        loan = self._loans.get(begun.loan)
        if loan is None or loan.borrower is not begun.borrower or not loan.back.done():
            return None
        return self._loans.pop(begun.loan)

    def lost(self, borrower: Borrower) -> None:
        """`borrower` has gone, and nobody knows what its workers do."""
        self._borrowers.discard(borrower)
        for loan in tuple(self._loans.values()):
            if loan.borrower is borrower:
                self._end(loan)
        for terms in self._terms.values():
            terms.interests.pop(borrower, None)

    def close(self) -> None:
        """Lend no more; whatever is lent ends."""
        self._is_closed = True
        for loan in tuple(self._loans.values()):
            self._end(loan)

    def forget(self, group: Group) -> None:
        """There is no such group any more."""
        self._terms.pop(group, None)

    def _end(self, loan: Loan) -> None:
        """Don't wait for a loan."""
        loan.worker.kill()
        self._forget(loan)
        self._settle(loan)

    def _forget(self, loan: Loan) -> None:
        self._loans.pop(loan.number, None)
        terms = self._terms.get(loan.group)
        if terms is not None and terms.loans.get(loan.borrower) is loan:
            del terms.loans[loan.borrower]

    def _take_back(self, loan: Loan) -> None:
        """The worker is this process's again."""
        loan.worker.loan = None
        loan.worker.session_key.ask = None
        loan.worker.resume()
        loan.settle()

    def _settle(self, loan: Loan) -> None:
        """Nothing that has to do with `loan` runs in its worker."""
        self._take_back(loan)
        self._release(loan.group, loan.worker)
