"""``keras-moe list`` and ``keras-moe info``."""

import argparse
import dataclasses
import sys
import typing

from keras_moe.cli.shared import MODEL, Command, fail, model_name, print_json

if typing.TYPE_CHECKING:
    from rich.console import Console


def register(command: Command) -> None:
    lister = command("list", _list, "List the published models.")
    lister.add_argument("pattern", nargs="?", default="*", help="of names, shell-style: 'hydranet*' (default: all)")
    info = command("info", _info, "Show a model's card.")
    info.add_argument("name", type=model_name, help=MODEL)
    for printing in (lister, info):
        printing.add_argument("--json", action="store_true", help="print JSON")


def _list(arguments: argparse.Namespace) -> int:
    from rich.table import Table

    from keras_moe import zoo

    cards = [zoo.card(name, check_model=False) for name in zoo.list_models(arguments.pattern)]
    if not cards:
        near = f"*{arguments.pattern}*"
        hint = f"'{near}' matches some" if zoo.list_models(near) else "without a pattern all are listed"
        return fail(f"no published model matches {arguments.pattern!r}; {hint}", 1)
    rows = [
        {
            "name": card.name,
            "system": card.system,
            "data": card.data.name,
            "metric": card.metrics[0].name,
            "value": card.metrics[0].value,
            "macs_executed": card.macs_executed,
            "macs_total": card.macs_total,
            "params": card.params,
        }
        for card in cards
    ]
    if arguments.json:
        return print_json(rows)
    table = Table(*rows[0], box=None)
    for card, row in zip(cards, rows, strict=True):
        texts = {key: _text(value) for key, value in row.items()}
        table.add_row(*{**texts, "value": card.metrics[0].text()}.values())
    console = _console()
    with console.capture() as captured:  # if rich itself printed, a closed pipe would exit with 1
        console.print(table)
    print(captured.get(), end="")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from keras_moe import zoo

    fields = dataclasses.asdict(zoo.card(arguments.name, check_model=False))
    if arguments.json:
        return print_json(fields)
    for key, value in fields.items():
        if isinstance(value, dict):
            value = ", ".join(f"{k}: {v}" for k, v in value.items() if v != "")
        elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            value = "".join("\n  " + ", ".join(f"{k}: {v}" for k, v in item.items()) for item in value)
        elif isinstance(value, (list, tuple)):
            value = ", ".join(map(str, value))
        if value == "":
            continue
        print(f"{key}: {value}")
    return 0


def _console() -> "Console":
    # A pipe has no width: nothing is wrapped or cut there.
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 1000, highlight=False)


def _text(value: object) -> str:
    return f"{value / 1e6:.2f} M" if isinstance(value, (int, float)) else str(value)
