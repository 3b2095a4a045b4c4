"""The zoo on the site: the table, the plots and a page for each model, from the cards."""

import json

import plots
import repository

import keras_moe_cli  # noqa: F401  first, so that cards are read without Keras
from keras_moe import zoo
from keras_moe.zoo import Card
from keras_moe.zoo.model_cards_md import END, START, section, table

_WIDE = "---\nhide: [toc]\n---\n\n"
CARDS = [zoo.card(name, check_model=False) for name in zoo.list_models()]


def navigation() -> list[dict[str, str]]:
    return [{card.name: f"zoo/{card.name}/index.md"} for card in CARDS]


def pages() -> dict[str, str]:
    """uri -> content of the zoo's pages and plots."""
    groups = plots.comparable(CARDS)
    return {
        "zoo/index.md": _index(groups),
        **{f"zoo/{card.name}/index.md": page(card, groups) for card in CARDS},
        **{f"zoo/{slug}.svg": plots.accuracy_against_macs(cards) for slug, cards in groups.items()},
        **{f"zoo/{card.name}/experts.svg": plots.usage(shares) for card in CARDS if (shares := _usage(card))},
        **_reports(),
    }


def _index(groups: dict[str, list[Card]]) -> str:
    text = repository.include("README.md", "Published models", "zoo/index.md")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    rows = table(CARDS)
    for card in CARDS:
        rows = rows.replace(f"| `{card.name}` |", f"| [`{card.name}`]({card.name}/index.md) |")
    pictures = "\n\n".join(f"![{plots.title(cards)}]({slug}.svg)" for slug, cards in groups.items())
    return f"""{_WIDE}# Models

{before}
<div class="sortable" markdown>

{rows}

</div>

A click on a head sorts by that column. {after.strip()}

## Quality against cost

A dot is what runs for an input on average, a line's end the whole network. Models are compared where data, scale and
measure are the same. The cards hold no latencies, which are those of a machine: `keras-moe bench NAME` measures yours.

{pictures}
"""


def page(card: Card, groups: dict[str, list[Card]]) -> str:
    """A model's page; ``groups`` as of ``plots.comparable``."""
    facts = repository.relinked(section(card), "MODEL_CARDS.md", f"zoo/{card.name}/index.md")
    facts = facts.replace(f"\n## {card.name}\n", f"{_WIDE}# {card.name}\n")
    facts = facts.replace("\n| metric |", f"\n{_use(card)}\n## Numbers\n\n| metric |", 1)
    facts = facts.replace("\n| file |", "\n## Files\n\n| file |", 1)
    pictures = [
        f"\n## Beside others\n\n![{plots.title(cards)}](../{slug}.svg)\n"
        for slug, cards in groups.items()
        if card in cards
    ]
    if _usage(card):
        pictures.append("\n## Its experts\n\n![share of the test inputs for which each expert ran](experts.svg)\n")
    return "".join([facts, "\n", *pictures, _classes(card)])


def _use(card: Card) -> str:
    command = "upscale {0} small.png large.png" if card.task == "super-resolution" else "predict {0} photo.jpg"
    shell = f"```sh\nkeras-moe {command.format(card.name)}\n```\n" if card.task != "segmentation" else ""
    return f'```python\nfrom keras_moe import zoo\n\nmodel = zoo.load("{card.name}")\n```\n\n{shell}'


def _classes(card: Card) -> str:
    if not card.classes:
        return ""
    return f'\n??? note "Its {len(card.classes)} classes"\n\n    {", ".join(card.classes)}\n'


def _usage(card: Card) -> list[float]:
    """The share of the test inputs for which each expert ran; empty where nothing is known of it."""
    metrics = json.loads((repository.ROOT / "zoo" / card.name / "metrics.json").read_text("utf-8"))
    return list(metrics.get("published", {}).get("usage", []))


def _reports() -> dict[str, str]:
    found = {}
    for path in sorted((repository.ROOT / "zoo").glob("*/*.md")):
        uri = path.relative_to(repository.ROOT).as_posix()
        found[uri] = repository.include(uri, None, uri)
    return found
