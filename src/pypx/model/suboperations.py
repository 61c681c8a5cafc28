"""What a PACS says of the images of a C-MOVE request."""

from __future__ import annotations

from pypx.model.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class SubOperations:
    """Sub-operation counts of a C-MOVE response; ``None`` where the PACS sent no value (PS3.7 9.1.4)."""

    completed: int | None = None
    failed: int | None = None
    warning: int | None = None
    remaining: int | None = None
