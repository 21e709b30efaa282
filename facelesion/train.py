"""`python -m facelesion.train --config FILE.yaml [--key value ...]`: what `facelesion train` does."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from facelesion.cli import guarded
from facelesion.threads import wait_asleep
from facelesion.training.command import train_command, usage


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the arguments say; the exit status: 0 done, 2 a mistake that its one line explains."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print(usage(), end="")
        return 2
    return guarded(lambda: train_command(words))


if __name__ == "__main__":
    wait_asleep()
    sys.exit(main())
