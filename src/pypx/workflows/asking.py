"""Many requests over few associations, until each is answered or given up.

An abort or a time-out ends a run of findscu or movescu; the requests behind it were never asked and are asked again in
a new association.  Several associations side by side are the caller's: :func:`associations_for` says how many,
:func:`not_granted` which of them to do without.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from pypx.errors import PeerFailedError, PeerRejectedError, PeerUnreachableError, PxError, ToolFailedError
from pypx.services.dcmtk_log import FinalResponse, PeerFloodError, PeerSilentError, ServiceRefusedError

Run = Callable[[Sequence[int]], Generator[FinalResponse, None, PxError | None]]
"""One association: asks the requests at these positions, one after the other."""

MOST = 1000
"""Requests of one association, so that an argument list stays within what the system takes."""

MANY = 16
"""From so many queries on two associations ask them, unless the user wants another number.

A PACS answers the queries of an association strictly one after another, so two are quicker: 50 studies took 0.60 s
instead of 0.74 s.  For a few queries a second one is not worth its beginning.  More are not taken unasked, because PACS
limit associations and serve others beside us; two is what ``px move`` takes, which asks beside its retrieve.
"""

_BARREN = 3


def associations_for(total: int, wish: int | None, granted: int | None = None) -> int:
    """How many associations ask so many queries.

    Parameters
    ----------
    total : of queries, >= 0
    wish : of the user, >= 1; ``None``: two from `MANY` queries on, else one
    granted : as many as the PACS takes at once, >= 1; ``None``: not known
    """
    wanted = wish or (2 if total >= MANY else 1)
    return max(1, min(wanted, total, wanted if granted is None else granted))


def not_granted(failure: PxError, *, barren: bool) -> bool:
    """Whether a peer does not grant one of several associations: it refuses it, or breaks it off instead of answering.

    A request that ran into a limit of time or memory does not say so: the peer had taken it.

    Parameters
    ----------
    failure : why the association ended
    barren : whether none of the requests was answered or given up before, in this association or an earlier one
    """
    if isinstance(failure, (PeerSilentError, PeerFloodError)):
        return False
    refused = isinstance(failure, (PeerRejectedError, PeerUnreachableError))
    return refused or (barren and isinstance(failure, PeerFailedError))


def ask_all(
    total: int,
    run: Run,
    *,
    tries: int = 2,
    first_must_work: bool = False,
    leave: Callable[[PxError], bool] | None = None,
) -> Generator[tuple[int, FinalResponse | PxError], None, None]:
    """Ask requests until each has an answer or is given up.

    A peer that aborts after k answers gets at most k requests in the next association (one, if it insists), and more
    again as it keeps up.  After three associations in a row without any answer, what is left is given up.  A request
    that ran into the time limit is not repeated: the peer may still be working on it.

    Parameters
    ----------
    total : how many requests there are; their positions count from 0
    run : asks some of them through one association
    tries : how often a request may be the one that broke an association, >= 1
    first_must_work : raise instead of giving up if there is no first association at all
    leave : asked after each association without any answer, with the reason: whether to end here, and to leave the
        requests that are pending to the caller

    Yields
    ------
    position, and its final response or why there is none; in the order of the answers

    Raises
    ------
    PeerUnreachableError, PeerRejectedError, PeerFailedError (service not offered), ToolFailedError :
        only with `first_must_work`, and before anything was answered
    """
    pending = list(range(total))
    broken: dict[int, int] = {}
    size = MOST
    barren = 0
    while pending:
        batch = pending[:size]
        answered: set[int] = set()
        failure = yield from _answers(run, batch, answered)
        left = [position for position in batch if position not in answered]
        pending = left + pending[len(batch) :]
        if failure is None and not left:
            size, barren = min(MOST, size * 2), 0
            continue
        failure = failure or PxError("the request was not answered")
        barren = 0 if answered else barren + 1
        if barren and leave is not None and leave(failure):
            return
        size = max(1, len(answered)) if answered else size
        if first_must_work and barren and len(pending) == total and _no_association(failure):
            raise failure
        culprit = left[0] if left else -1
        broken[culprit] = broken.get(culprit, 0) + 1
        spent = broken[culprit] >= tries or isinstance(failure, PeerSilentError)
        given_up = pending if barren >= _BARREN else [culprit] if spent else []
        yield from ((position, failure) for position in given_up)
        pending = [position for position in pending if position not in set(given_up)]


def _answers(
    run: Run, batch: Sequence[int], answered: set[int]
) -> Generator[tuple[int, FinalResponse | PxError], None, PxError | None]:
    """The answers of one association; returns why it ended early."""
    responses = run(batch)
    try:
        while True:
            final = next(responses)
            position = batch[final.message_id - 1] if 0 < final.message_id <= len(batch) else -1
            if position >= 0 and position not in answered:
                answered.add(position)
                yield position, final
    except StopIteration as stop:
        failure: PxError | None = stop.value
        return failure
    finally:
        responses.close()


def _no_association(failure: PxError) -> bool:
    return isinstance(failure, (PeerUnreachableError, PeerRejectedError, ServiceRefusedError, ToolFailedError))
