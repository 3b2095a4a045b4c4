"""``README.md`` of a model in the Hub's model-card format: YAML front matter for its search, and a page to read."""

import re
import typing

from keras_moe.zoo.model_card import Card, Metric

_PIPELINES = {
    "classification": "image-classification",
    "segmentation": "image-segmentation",
    "super-resolution": "image-to-image",
}
_METRICS = {"miou": "mean_iou"}  # the Hub's names; all others are ours
# Licenses that the Hub knows by name (https://huggingface.co/docs/hub/repositories-licenses).
_LICENSES = (
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bsd", "bsd-2-clause",
    "bsd-3-clause", "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
    "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "gpl", "gpl-2.0",
    "gpl-3.0", "agpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "mpl-2.0", "epl-1.0", "epl-2.0", "eupl-1.1", "eupl-1.2",
    "isc", "unlicense", "wtfpl", "zlib", "artistic-2.0", "bsl-1.0", "ecl-2.0", "ms-pl", "ncsa", "odbl", "odc-by",
    "pddl", "ofl-1.1", "postgresql", "osl-3.0", "afl-3.0",
)  # fmt: skip

_LOADED = """```python
from keras_moe import zoo

model = zoo.load("hf://{repo}")  # pip install "keras-moe[hub]"
```
"""


def readme(card: Card, repo: str) -> str:
    """The page of ``card`` for the repository ``repo``, ``"user/name"``."""
    return f"---\n{_front_matter(card)}\n---\n\n{_page(card, repo)}"


def _front_matter(card: Card) -> str:
    from huggingface_hub import ModelCardData

    pipeline = _PIPELINES[card.task]
    headline = card.metrics[:1]
    license_id = _license_id(card.license)
    data = ModelCardData(
        model_name=card.name,
        library_name="keras-moe",
        pipeline_tag=pipeline,
        tags=["keras", "mixture-of-experts", *filter(None, [card.system])],
        metrics=[_METRICS.get(metric.name, metric.name) for metric in headline] or None,
        eval_results=[_result(card, metric, pipeline) for metric in headline] or None,
        license=license_id or "other",
        license_name=None if license_id else card.license,
    )
    text: str = data.to_yaml()
    return text


def _license_id(license: str) -> str | None:
    normalized = license.lower().replace(" ", "-")
    return normalized if normalized in _LICENSES else None


def _result(card: Card, metric: Metric, pipeline: str) -> typing.Any:
    from huggingface_hub import EvalResult

    dataset = card.data.name or "the author's own images"
    return EvalResult(
        task_type=pipeline,
        dataset_type=re.sub("[^a-z0-9]+", "-", dataset.lower()).strip("-"),
        dataset_name=dataset,
        dataset_split=metric.split,
        metric_type=_METRICS.get(metric.name, metric.name),
        metric_name=metric.name,
        metric_value=metric.value,
    )


def _page(card: Card, repo: str) -> str:
    shape = " x ".join(map(str, card.input.shape))
    lines = [
        f"# {card.name}\n",
        f"{card.summary}\n" if card.summary else "",
        f"`{card.model}` of keras-moe for {card.task}: {card.params:,} parameters, "
        f"{card.macs_executed / 1e6:.2f} M multiply-accumulates executed per image of {card.macs_total / 1e6:.2f} M "
        "with every expert.\n",
        _LOADED.format(repo=repo),
        f"- Input: {shape}, {card.input.channels}, values in {card.input.range}.",
        f"- Classes: {', '.join(card.classes)}." if card.classes else "",
        f"- Data: {card.data.name} ({card.data.url}); terms: {card.data.license}." if card.data.name else "",
        f"- License: {card.license}.",
        f"- Training: {card.recipe_note}" if card.recipe_note else "",
        f"- After {card.paper} ({card.paper_url})." if card.paper else "",
        _numbers(card.metrics),
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _numbers(metrics: tuple[Metric, ...]) -> str:
    if not metrics:
        return ""
    rows = [f"| {m.name} | {m.text()} | {m.split} | {m.note} |" for m in metrics]
    return "\n".join(["\n| metric | value | split | note |", "|---|---|---|---|", *rows])
