"""A recipe: everything that reproduces a published model."""

import dataclasses
import pathlib
import typing
from collections.abc import Callable, Mapping

import numpy as np

from keras_moe.datasets import Dataset
from keras_moe.images import photographs
from keras_moe.models import MoEModel

Train = Callable[[typing.Any, int, pathlib.Path, int], dict[str, typing.Any]]
Config = dict[str, typing.Any]
Measure = Callable[[typing.Any], dict[str, typing.Any]]

_LOGITS = {"classifier_activation": None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelRecipe:
    """The making of a model of the zoo.

    Args:
        name: str, of the model and of its folder.
        model: its class, one of ``keras_moe.models``.
        config: keyword arguments of the class, published in the card; ``input_shape`` is one of them.
        dataset: the ``Dataset`` of training and measurement.
        train: ``(model, seed, folder, epochs) -> history``, resumable; ``history`` as ``run_stages`` returns it.
        measure: ``model -> dict``: the data set's ``card_metrics`` by name, ``"macs_executed"``, and further numbers
            for the record.
        epochs: int, the default.
        seeds: ints; the weights of the first are published.
        summary, paper, paper_url, recipe_note, baseline: texts of the card.
        build_options: further keyword arguments of the class, for training; by default it ends in logits.
    """

    name: str
    model: Callable[..., MoEModel]
    config: Config
    dataset: Dataset
    train: Train
    measure: Measure
    epochs: int
    summary: str
    paper: str
    paper_url: str
    recipe_note: str
    seeds: tuple[int, ...] = (0,)
    baseline: str = ""
    build_options: Mapping[str, typing.Any] = dataclasses.field(default_factory=_LOGITS.copy)

    def build(self, **changes: typing.Any) -> MoEModel:
        """A fresh model with random weights, with ``changes`` of its arguments."""
        return self.model(**{**self.config, **self.build_options, **changes})

    def golden_images(self) -> np.ndarray:
        """float32 ``(n, h, w, c)``, images that may lie beside the weights; the outputs for them are pinned."""
        shape = tuple(self.config["input_shape"])
        if self.dataset.can_be_shipped:
            return self.dataset.load_test(shape).images[:8].astype("float32")
        images = np.stack(photographs(shape))
        return images[:1] if self.dataset.task == "segmentation" else images
