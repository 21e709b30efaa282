"""A script without `if __name__ == "__main__":`, told in one line where it would wait for itself or start over.

Python runs the main script again in every process that is started afresh. One without the guard comes to the same call
there, before that process has begun to work: it would wait for a lock that its own parent holds.
"""

from __future__ import annotations

import multiprocessing
import sys

GUARD = (
    "this script runs again in every process that it starts, and comes to the same call there: put what it does under "
    '`if __name__ == "__main__":` (docs/studies.md, "From Python")'
)
UNGUARDED = 78  # how a process that ran into this ends, for its parent to tell it by


def refuse_in_unguarded_main() -> None:
    """End a process that came here while it ran its parent's main script again; asked before any work is begun.

    Not an error that the script could catch: what is wrong is that this process is at this line at all.

    Example:
        >>> refuse_in_unguarded_main()  # here nobody is being started
    """
    # What Python's own refusal to start a process from such a one looks at; nothing public says it.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        print(GUARD, file=sys.stderr, flush=True)
        raise SystemExit(UNGUARDED)
