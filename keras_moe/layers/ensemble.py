"""The ensembler: what the base and the experts said, in one answer."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_moe")
class Ensembler(keras.layers.Layer):
    """Combines outputs of equal shape: their sum, or a learned weighting of them.

    The plain sum of base and expert is the one that single-gated MoE (BMVC 2022, section 3) found to be enough.

    Args:
        learned: bool. False: the sum. True: ``sum over i of scale[i] * inputs[i]`` with one trainable scalar per
            input, all ones at the start, so that it begins as the sum.

    Call arguments:
        inputs: list of at least two float tensors of one shape.

    Returns:
        A float tensor of that shape.

    Raises:
        ValueError: fewer than two inputs, or shapes that differ.
    """

    def __init__(self, learned=False, **kwargs):
        super().__init__(**kwargs)
        self.learned = learned
        self.scale = None

    def build(self, input_shape):
        shapes = {tuple(s[1:]) for s in input_shape}
        if len(input_shape) < 2 or len(shapes) != 1:
            raise ValueError(f"Ensembler: expected a list of two or more tensors of one shape. Received: {input_shape}")
        if self.learned:
            self.scale = self.add_weight(shape=(len(input_shape),), initializer="ones", name="scale")

    def call(self, inputs):
        if not self.learned:
            return sum(inputs[1:], inputs[0])
        scale = ops.cast(self.scale, self.compute_dtype)
        return sum(scale[i] * x for i, x in enumerate(inputs))

    def compute_output_shape(self, input_shape):
        return tuple(input_shape[0])

    def get_config(self):
        return {**super().get_config(), "learned": self.learned}
