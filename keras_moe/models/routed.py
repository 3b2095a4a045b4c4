"""The functional model under every model of the package: ``predict`` and ``evaluate`` without gradients."""

import collections.abc
import functools
import typing

import keras

from keras_moe.checks import fits
from keras_moe.layers import inference_only
from keras_moe.layers.changes import MadeOf
from keras_moe.models.served import ServedModel
from keras_moe.types import Array

Function: typing.TypeAlias = collections.abc.Callable[..., typing.Any]


class RoutedModel(ServedModel):
    """A functional model whose ``predict`` and ``evaluate`` run inside ``inference_only``.

    Both follow a change of its layers, such as LoRA, quantization or another activation, without compiling again.
    """

    _has_predicted = False

    def predict_arrays(self, *arrays: Array, batch_size: int) -> typing.Any:
        """``predict`` of one array for each input.

        A single batch goes without Keras' loop over batches: on TensorFlow to set that up takes longer than to run most
        networks on one image.

        Example:
            >>> zoo.load("test_hydranet").predict_arrays(np.zeros((3, 8, 8, 1)), batch_size=256).shape
            (3, 10)
        """
        x = list(arrays) if isinstance(self.input, list) else arrays[0]
        if hasattr(arrays[0], "shape") and 0 < len(arrays[0]) <= batch_size:
            return self.predict_on_batch(x)
        return self.predict(x, batch_size=batch_size, verbose=0)

    def make_predict_function(self, force: bool = False) -> Function:
        function: Function = super().make_predict_function(force or self._has_changed_since("predict"))
        return function

    def make_test_function(self, force: bool = False) -> Function:
        function: Function = super().make_test_function(force or self._has_changed_since("test"))
        return function

    def _has_changed_since(self, use: str) -> bool:
        state = self._state_of_layers(*self.layers)
        last, self._made_for[use] = self._made_for.get(use), state
        return last is not state

    @functools.cached_property
    def _made_for(self) -> dict[str, object]:
        return {}

    @functools.cached_property
    def _state_of_layers(self) -> MadeOf:
        return MadeOf(lambda *layers: object())

    def predict_step(self, *args: typing.Any) -> typing.Any:
        with inference_only():
            if keras.backend.backend() == "torch" and isinstance(self.input, keras.KerasTensor):
                return self._predict_in_segments(*args)
            return super().predict_step(*args)

    def _predict_in_segments(self, data: typing.Any) -> typing.Any:
        images, *_ = keras.utils.unpack_x_y_sample_weight(data)
        is_first, self._has_predicted = not self._has_predicted, True  # of a model that never ran Keras exports nothing
        if is_first or not fits(getattr(images, "shape", ()), self.input.shape):
            return super().predict_step(data)  # where Keras says what it expects
        outputs = self._segments([keras.ops.convert_to_tensor(images, self.input.dtype)])
        return keras.tree.pack_sequence_as(self.output, outputs)

    @functools.cached_property
    def _segments(self) -> typing.Any:
        from keras_moe.models.segments import SegmentedModel

        return SegmentedModel(self)

    def test_step(self, *args: typing.Any) -> typing.Any:
        with inference_only():
            return super().test_step(*args)
