"""What Keras leaves out of a file, so that training goes on after loading as if it had never stopped."""

import collections.abc
import typing

import keras
from keras import ops

from keras_moe.layer_state import inner_layers, own_variables


class Remainder(keras.layers.Layer):
    """Saves and loads, beside a model's layers, the state that they do not save themselves.

    With LoRA, Keras saves the kernel and its update merged and loads the update as zeros, from which no gradient leads
    away: here all variables of such layers are kept as they are. So are the seeds of random layers.

    Args:
        model: ``() -> keras.Model``. A function, because a layer counts the models it holds as its own.
    """

    def __init__(self, model: collections.abc.Callable[[], keras.Model], **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self._model = model

    def save_own_variables(self, store: typing.Any) -> None:
        for name, variable in self._kept().items():
            store[name] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store: typing.Any) -> None:
        names = set(store.keys())
        for name, variable in self._kept().items():
            if name in names:  # a file of another model, or of Keras alone, has none
                variable.assign(store[name])

    def _kept(self):
        """Dict, name in the file -> variable."""
        model = self._model()
        weights = {id(v) for v in model.weights}
        seeds = [v for v in model.variables if id(v) not in weights]
        with_lora = [layer for layer in inner_layers(model) if getattr(layer, "lora_enabled", False)]
        kept = {f"lora_{i}_{v.name}": v for i, layer in enumerate(with_lora) for v in own_variables(layer)}
        return kept | {f"seed_{i}": v for i, v in enumerate(seeds)}
