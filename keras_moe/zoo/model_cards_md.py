"""MODEL_CARDS.md and README's table, generated from the cards: ``python -m keras_moe.zoo.model_cards_md``."""

import pathlib

from keras_moe import zoo
from keras_moe.files import write_bytes
from keras_moe.zoo import Card
from keras_moe.zoo.store import published_folder

START, END = "<!-- models -->", "<!-- /models -->"


def table(cards: list[Card]) -> str:
    """The published models as a Markdown table, one row each."""
    rows = ["| model | data | result | MACs executed | MACs, all experts | parameters |", "|---|---|---|---|---|---|"]
    for card in cards:
        metric = card.metrics[0]
        seeds = f" ({len(metric.seeds)} seeds)" if len(metric.seeds) > 1 else ""
        result = f"{metric.text()} {metric.name}{seeds}"
        rows.append(
            f"| `{card.name}` | {card.data.name} | {result} | {card.macs_executed / 1e6:.2f} M "
            f"| {card.macs_total / 1e6:.2f} M | {card.params:,} |"
        )
    return "\n".join(rows)


def document(cards: list[Card]) -> str:
    """The whole of MODEL_CARDS.md."""
    head = "# Model cards\n\nGenerated from `zoo/*/card.toml` by `make cards`; do not edit.\n"
    return "\n".join([head, table(cards), *(section(card) for card in cards)]) + "\n"


def section(card: Card) -> str:
    compared = f" Dense baseline: [`{card.baseline}`](#{card.baseline})." if card.baseline else ""
    metrics = "\n".join(
        f"| {m.name} | {m.text()} | {m.split} | {', '.join(map(str, m.seeds))} "
        f"| {', '.join(map(m.text, m.per_seed))} | {m.note} |"
        for m in card.metrics
    )
    files = "\n".join(f"| `{f.name}` | {f.size:,} | `{f.sha256}` |" for f in card.files)
    return f"""
## {card.name}

{card.summary}{compared}

- **System**: {card.system}, after {card.paper} ({card.paper_url}).
- **Task**: {card.task}{f", {len(card.classes)} classes" if card.classes else ""}.
- **Data**: {card.data.name}, from {card.data.source} ({card.data.url}). Terms of the data: {card.data.license}.
- **License of the weights**: {card.license}.
- **Input**: {" x ".join(map(str, card.input.shape))}, {card.input.channels}, values in {card.input.range}.
- **Cost**: {card.params:,} parameters; {card.macs_executed / 1e6:.2f} M MACs executed per input (mean over the test \
split) of {card.macs_total / 1e6:.2f} M with every expert.
- **Recipe**: [`{card.recipe}`]({card.recipe.replace(".", "/")}.py). {card.recipe_note}

| metric | value | split | seeds | per seed | note |
|---|---|---|---|---|---|
{metrics}

| file | bytes | sha256 |
|---|---|---|
{files}{_evidence(card.name)}"""


def _front(cards: list[Card]) -> list[Card]:
    """The cards of README's table: photographs first, set by set, without the models for tests."""
    shown = [card for card in cards if not card.name.startswith("test_")]
    return sorted(shown, key=lambda card: (card.data.name != "photos", card.data.name, card.name))


def _evidence(name: str) -> str:
    """Links to the reports that lie beside a card, and its pictures."""
    folder = published_folder() / name
    reports = [f"[{path.name}](zoo/{name}/{path.name})" for path in sorted(folder.glob("*.md"))]
    pictures = [f"![{path.stem} of {name}](zoo/{name}/{path.name})" for path in sorted(folder.glob("*.png"))]
    lines = ["What was tried and compared: " + ", ".join(reports) + "."] * bool(reports) + pictures
    return "".join(f"\n\n{line}" for line in lines)


def stale() -> dict[pathlib.Path, str]:
    """Path -> the text that it should have, of those of MODEL_CARDS.md and README.md that are out of date."""
    cards = [zoo.card(name) for name in zoo.list_models()]
    root = published_folder().parent
    readme = root / "README.md"
    before, _, rest = readme.read_text("utf-8").partition(START)
    _, _, after = rest.partition(END)
    texts = {
        root / "MODEL_CARDS.md": document(cards),
        readme: f"{before}{START}\n{table(_front(cards))}\n{END}{after}",
    }
    return {path: text for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text}


def main() -> None:
    for path, text in stale().items():
        write_bytes(path, text.encode())
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
