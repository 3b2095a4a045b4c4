"""Fuzzes the parsers for a while: ``python tests/fuzz [--minutes 60] [--only NAME]``; 1 if one of them broke.

All have their turns again and again, with new cases each time. A case that breaks one is printed at its smallest, and
its parser has no further turn.
"""

import argparse
import os
import sys
import time
import traceback
import warnings

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ["KERAS_MOE_OFFLINE"] = "1"

from hypothesis import HealthCheck, given, seed, settings
from parsers import PARSERS

TURN = 100  # cases
SLOW = {"architecture": 6, "folder": 30}


def turn(name):
    """How many cases a turn of the parser has."""
    return SLOW.get(name, TURN)


def fuzz(name, number):
    """One turn of a parser, with the cases of a seed: the error in print, "" if none broke it."""
    cases, check = PARSERS[name]

    @seed(number)
    @settings(max_examples=turn(name), database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(cases)
    def holds(case):
        check(case)

    try:
        holds()
    except Exception as error:
        return "".join(traceback.format_exception(error))
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", choices=PARSERS)
    parser.add_argument("--seed", type=int, default=0, help="of the first turns (default: 0)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of Pillow, on odd files

    whole = [arguments.only] if arguments.only else list(PARSERS)
    tried, number, end = dict.fromkeys(whole, 0), arguments.seed, time.monotonic() + 60 * arguments.minutes
    while whole and time.monotonic() < end:
        for name in tuple(whole):
            error = fuzz(name, number)
            tried[name] += turn(name)
            if error:
                whole.remove(name)
                print(f"== {name} broke\n{error}", flush=True)
        number += 1
    print(
        *(f"{count:9,} cases: {name}{'' if name in whole else ', broken'}" for name, count in tried.items()), sep="\n"
    )
    return int(len(whole) < len(tried))


if __name__ == "__main__":
    sys.exit(main())
