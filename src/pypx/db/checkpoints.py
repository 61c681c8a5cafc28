"""Named points in the code, at which a test can stop a process in order to kill it exactly there.

Nothing of this is for users: without the environment variable, reaching a point costs one comparison.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "PX_STOP_AT"
"""Environment variable with the name of the point at which processes stop."""

_STOP_AT = os.environ.get(VARIABLE)


def reached(name: str) -> None:
    """Stop this process (SIGSTOP to itself) if ``PX_STOP_AT`` names this point; otherwise do nothing.

    Parameters
    ----------
    name : ``<module>.<what has just been done>``, such as ``filing.placed``; listed in CONTRIBUTING.md
    """
    if name == _STOP_AT:
        os.kill(os.getpid(), signal.SIGSTOP)
