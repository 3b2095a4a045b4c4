"""The command ``keras-moe``: list, info, predict, train.

Exit codes: 0 all went well; 1 something could not be done (a line on stderr for each; the rest is done);
2 a wrong command line or an unknown model.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import runpy
import sys


def main(argv=None):
    """Runs the command; returns the exit code."""
    try:
        arguments = _parser().parse_args(argv)
        code = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader has gone, as in `keras-moe list | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except (OSError, ValueError) as error:
        return _fail(str(error), 1)


def _parser():
    parser = argparse.ArgumentParser(prog="keras-moe", description="A zoo of vision mixtures of experts.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, run, help):
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(run=run)
        return added

    lister = command("list", _list, "List the published models.")
    lister.add_argument("pattern", nargs="?", default="*", help="shell-style, e.g. 'hydranet*'")
    info = command("info", _info, "Show a model's card.")
    info.add_argument("name", type=_model_name)
    predict = command("predict", _predict, "Classify images; show which experts ran and what that cost.")
    predict.add_argument("name", type=_model_name)
    predict.add_argument("images", nargs="+", metavar="IMAGE")
    predict.add_argument("--top", type=_positive, default=5, help="labels per image (default: 5)")
    for printing in (lister, info, predict):
        printing.add_argument("--json", action="store_true", help="print JSON")
    train = command("train", _train, "Train a published model anew, by its committed recipe.")
    train.add_argument("name", type=_model_name)
    train.add_argument("options", nargs=argparse.REMAINDER, help="options of the recipe; try --help")
    return parser


def _model_name(name):
    from keras_moe import zoo

    try:
        return zoo.card(name).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1. Received: {text}")
    return int(text)


def _list(arguments):
    from rich.table import Table

    from keras_moe import zoo

    cards = [zoo.card(name) for name in zoo.list_models(arguments.pattern)]
    if not cards:
        return _fail(f"no published model matches {arguments.pattern!r}", 1)
    rows = [
        {
            "name": card.name,
            "system": card.system,
            "data": card.data.name,
            "accuracy": card.metrics[0].value,
            "macs_executed": card.macs_executed,
            "macs_total": card.macs_total,
            "params": card.params,
        }
        for card in cards
    ]
    if arguments.json:
        return _print_json(rows)
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(_text(key, value) for key, value in row.items()))
    console = _console()
    with console.capture() as captured:  # printed by rich itself, a closed pipe would exit with 1
        console.print(table)
    print(captured.get(), end="")
    return 0


def _info(arguments):
    from keras_moe import zoo

    fields = dataclasses.asdict(zoo.card(arguments.name))
    if arguments.json:
        return _print_json(fields)
    for key, value in fields.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k}: {v}" for k, v in value.items())
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            value = "".join("\n  " + ", ".join(f"{k}: {v}" for k, v in item.items()) for item in value)
        elif isinstance(value, (list, tuple)):
            value = ", ".join(map(str, value))
        print(f"{key}: {value}")
    return 0


def _predict(arguments):
    import numpy as np

    from keras_moe import zoo
    from keras_moe.classify import classify
    from keras_moe.images import read_image

    card = zoo.card(arguments.name)
    paths, images, failures = [], [], 0
    for path in arguments.images:
        try:
            images.append(read_image(path, card.input.shape))
            paths.append(path)
        except (OSError, ValueError) as error:
            failures = _fail(str(error), 1)
    if not images:
        return failures
    with contextlib.redirect_stdout(sys.stderr):  # a download shows its progress
        model = zoo.load(card.name)
    found = classify(model, card.name, np.stack(images), min(arguments.top, len(card.classes)))
    if arguments.json:
        _print_json([{"image": path, **dataclasses.asdict(result)} for path, result in zip(paths, found, strict=True)])
    else:
        for path, result in zip(paths, found, strict=True):
            _print_result(path, result)
    return failures


def _train(arguments):
    from keras_moe.zoo import store

    recipe = store.published_folder() / arguments.name / "recipe.py"
    before = sys.argv
    sys.argv = [str(recipe), *arguments.options]
    try:
        runpy.run_path(str(recipe), run_name="__main__")
    finally:
        sys.argv = before
    return 0


def _print_result(path, result):
    print(path)
    for label, probability in result.top:
        print(f"  {probability:7.2%}  {label}")
    if result.experts:
        print(f"  experts: {result.experts}")
    share = result.macs_executed / result.macs_total
    print(f"  MACs: {result.macs_executed / 1e6:.2f} M of {result.macs_total / 1e6:.2f} M ({share:.0%})")


def _print_json(value):
    print(json.dumps(value, indent=2))
    return 0


def _console():
    # A pipe has no width: nothing is wrapped or cut there.
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 1000, highlight=False)


def _text(key, value):
    if key == "accuracy":
        return f"{value:.2%}"
    return f"{value / 1e6:.2f} M" if isinstance(value, (int, float)) else str(value)


def _fail(message, code):
    print(f"keras-moe: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
