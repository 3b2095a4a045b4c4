"""State that Keras leaves out of a file and that training after loading needs."""

import collections.abc
import typing

import keras
from keras import ops

from keras_moe.layer_state import inner_layers, own_variables


class Remainder(keras.layers.Layer):
    """Saves and loads the state of a model that its layers do not save: LoRA's variables and random seeds.

    For a layer with LoRA, Keras saves the sum of kernel and update, and loads an update of zeros, whose gradient is
    zero. This layer keeps all variables of such layers as they are, and the seeds of random layers.

    Args:
        model: ``() -> keras.Model``. It is a function because a layer owns the models among its attributes.
    """

    def __init__(self, model: collections.abc.Callable[[], keras.Model], **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self._model = model

    def save_own_variables(self, store: typing.Any) -> None:
        for name, variable in self._named_variables().items():
            store[name] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store: typing.Any) -> None:
        names = set(store.keys())
        for name, variable in self._named_variables().items():
            if name in names:  # a file from Keras alone has none
                variable.assign(store[name])

    def _named_variables(self) -> dict[str, keras.Variable]:
        """Dict, name in the file -> variable."""
        model = self._model()
        weights = {id(v) for v in model.weights}
        seeds = [v for v in model.variables if id(v) not in weights]
        with_lora = [layer for layer in inner_layers(model) if getattr(layer, "lora_enabled", False)]
        variables: dict[str, keras.Variable] = {
            f"lora_{i}_{v.name}": v for i, layer in enumerate(with_lora) for v in own_variables(layer)
        }
        return variables | {f"seed_{i}": v for i, v in enumerate(seeds)}
