"""Renames the arguments that ``[config]`` of every published card holds, once: ``python zoo/rename_arguments.py``."""

import pathlib
import re

NAMES = {
    "HydraNet": {"branches": "num_experts", "split": "split_at"},
    "SingleGatedMoE": {"experts": "num_experts", "split": "split_at"},
    "SegmentationMoE": {"experts": "num_experts", "gate": "gate_kind"},
}


def renamed(text):
    """The text of a card with its arguments renamed, and sorted as ``write_card`` sorts them."""
    names = NAMES.get(re.search(r'^model = "(.*)"$', text, re.M)[1], {})
    before, config, after = re.match(r"(.*^\[config\]\n)(.*?\n)(\n\[.*)", text, re.M | re.S).groups()
    pairs = [line.split(" = ", 1) for line in config.splitlines()]
    lines = sorted(f"{names.get(name, name)} = {value}\n" for name, value in pairs)
    return before + "".join(lines) + after


for card in sorted(pathlib.Path(__file__).parent.glob("*/card.toml")):
    card.write_text(renamed(card.read_text()))
