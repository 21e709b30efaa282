"""How often single-case tests call a network that is like its controls: each of a group once as the case.

    python scripts/false_alarms.py runs/default "trained alike"
    python scripts/false_alarms.py runs/default "trained alike" --own_spread

It prints a table and writes it beside the run's own, `false_alarms.csv`. A share of 0.05 is what tests at 0.05 should
call without correction. The second takes controls with their own spread alone, where tests give them no less than as
many answers bring by chance; its table is `false_alarms_own_spread.csv`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from facelesion.analysis import false_alarms
from facelesion.errors import Error
from facelesion.files import write_bytes
from facelesion.report import read_run


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, help="a study's folder")
    options.add_argument("group", nargs="?", default="trained alike", help="of its participants")
    options.add_argument("--own_spread", action="store_true", help="controls with no more than their own spread")
    given = options.parse_args()
    try:
        run = read_run(given.run)
        if given.group not in run.manifest.groups:
            raise Error(f"{given.run} has no group {given.group!r}: it has {', '.join(run.manifest.groups) or 'none'}")
        found = false_alarms(run.table, run.manifest.groups[given.group], least_spread=not given.own_spread)
        name = "false_alarms_own_spread.csv" if given.own_spread else "false_alarms.csv"
        write_bytes(given.run / name, found.to_csv(index=False).encode())
    except Error as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(found.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
