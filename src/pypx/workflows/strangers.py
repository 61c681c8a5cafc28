"""Those who connect from an address that may not: turned away before a byte is read, and told about now and then."""

from __future__ import annotations

import time
from collections.abc import Callable

from pypx.workflows.association import AccessRules, Rejection
from pypx.workflows.events import EventKind, ListenEvent

_QUIET_S = 60.0
_REMEMBERED = 1024


class Strangers:
    """Judges addresses; of each that is turned away the first connection is told, and the next a minute later."""

    def __init__(self, rules: AccessRules, on_event: Callable[[ListenEvent], None]) -> None:
        self._rules = rules
        self._emit = on_event
        self._told: dict[str, float] = {}

    def lets_in(self, address: str) -> bool:
        """Whether a connection from this address may go on."""
        if self._rules.lets_in(address):
            return True
        now = time.monotonic()
        if now - self._told.get(address, -_QUIET_S) >= _QUIET_S:
            self._told.pop(address, None)
            self._told[address] = now
            if len(self._told) > _REMEMBERED:
                del self._told[next(iter(self._told))]
            self._emit(ListenEvent(EventKind.ASSOCIATION_REJECTED, address=address, reason=Rejection.ADDRESS.text))
        return False
