"""Every model learns, and every part of it that is to."""

import keras
import numpy as np
from descriptors import each_model

from keras_moe.training.stages import jit_compile


@each_model
def test_fits_and_every_trainable_part_moves(d):
    model = d.create()
    before = [w.numpy().copy() for w in model.trainable_weights]
    # One-hot: Keras' sparse loss has no gradient through probabilities per pixel on PyTorch.
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build(model.trainable_variables)  # else TensorFlow traces the step twice
    model.compile(optimizer, "categorical_crossentropy", jit_compile=jit_compile())
    rng = np.random.default_rng(1)
    *sizes, classes = model.output_shape[1:]
    x, y = rng.random((64, 8, 8, 3)) * 255, np.eye(classes)[rng.integers(0, classes, (64, *sizes))]
    model.fit(x, y, batch_size=32, epochs=2, verbose=0)
    # Of what is trained: BatchNorm's statistics move without any gradient.
    moved = {w.path for w, b in zip(model.trainable_weights, before, strict=True) if not np.array_equal(w, b)}
    assert d.learns
    assert all(any(path.startswith(part) for path in moved) for part in d.learns)
