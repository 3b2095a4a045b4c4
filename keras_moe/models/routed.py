"""The functional model under every model of the package: how ``predict`` and ``evaluate`` run."""

import contextlib
import functools
import threading

import keras

from keras_moe.layers import inference_only
from keras_moe.layers.changes import MadeOf


def _in_turn(name):
    """The method ``name`` of ``keras.Model``, one thread at a time where the backend asks for it."""

    @functools.wraps(getattr(keras.Model, name))
    def method(self, *args, **kwargs):
        with self._turns:
            return getattr(super(RoutedModel, self), name)(*args, **kwargs)

    return method


class RoutedModel(keras.Model):
    """A functional model whose ``predict`` and ``evaluate`` promise its expert banks that no gradient is wanted.

    Both follow a change of its layers, such as LoRA, quantization or another activation, without being compiled anew.
    Threads may ask it at once, while nobody trains it. On JAX they take turns: Keras' ``predict`` there takes the
    variables out of the model until it returns.

    Args:
        turns: the lock of a model that shares its variables with this one; None: a new one.
    """

    def __init__(self, *args, turns=None, **kwargs):
        super().__init__(*args, **kwargs)
        new = threading.RLock if keras.backend.backend() == "jax" else contextlib.nullcontext
        self._turns = turns or new()

    __call__, predict, predict_on_batch, evaluate, test_on_batch = map(
        _in_turn, ("__call__", "predict", "predict_on_batch", "evaluate", "test_on_batch")
    )

    def make_predict_function(self, force=False):
        return super().make_predict_function(force or self._has_changed_since("predict"))

    def make_test_function(self, force=False):
        return super().make_test_function(force or self._has_changed_since("test"))

    def _has_changed_since(self, use):
        state = self._state_of_layers(*self.layers)
        last, self._made_for[use] = self._made_for.get(use), state
        return last is not state

    @functools.cached_property
    def _made_for(self):
        return {}

    @functools.cached_property
    def _state_of_layers(self):
        return MadeOf(lambda *layers: object())

    def predict_step(self, *args):
        with inference_only():
            return super().predict_step(*args)

    def test_step(self, *args):
        with inference_only():
            return super().test_step(*args)
