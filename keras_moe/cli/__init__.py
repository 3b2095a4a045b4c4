"""The command ``keras-moe``; each module here adds some of its sub-commands.

Exit codes: 0 success; 1 a failure (a line on stderr for each, and the rest is done); 2 a wrong command line or an
unknown model.
"""

import argparse
import io
import os
import sys
from collections.abc import Callable

from keras_moe.cli import cards, export, finetune, insights, predict, train, upscale
from keras_moe.cli.shared import WrongCommand, fail

COMMANDS = (cards, predict, finetune, upscale, insights, train, export)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell, as by `>&-`
            setattr(sys, name, io.StringIO())
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the console cannot show is printed escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has gone, as in `keras-moe list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return fail("interrupted", 130)
    except WrongCommand as error:
        return fail(str(error), 2)
    except (OSError, ValueError, ImportError) as error:
        return fail(str(error), 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="keras-moe", description="A zoo of vision mixtures of experts.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], help: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=help, description=help)
        added.set_defaults(run=run)
        return added

    for module in COMMANDS:
        module.register(command)
    return parser
