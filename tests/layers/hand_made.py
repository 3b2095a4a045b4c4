"""Experts whose outputs are known by hand, and small ones that are not."""

import keras
import numpy as np
from keras import ops

# Expert k maps x to (k + 1) x + k.
X = [[1, 2], [3, 4], [5, 6], [7, 8]]
W = [[1, 0, 0], [0, 0.5, 0.5], [0, 0, 0], [0.25, 0, 0.75]]
Y = [[1, 2], [9, 11.5], [0, 0], [19, 21.5]]


def affine_experts(count=3):
    experts = []
    for k in range(count):
        expert = keras.layers.Dense(2)
        expert.build((None, 2))
        expert.set_weights([np.eye(2) * (k + 1), np.full(2, k)])
        experts.append(expert)
    return experts


def conv_experts(count=3, size=6):
    def expert(k):
        inputs = keras.Input((size, size, 2))
        x = keras.layers.Conv2D(4, 3, 2, "same", name=f"conv_{k}")(inputs)
        x = keras.layers.BatchNormalization(name=f"bn_{k}")(x)
        return keras.Model(inputs, keras.layers.ReLU()(x))

    return [expert(k) for k in range(count)]


def tensors(*arrays):
    return [ops.convert_to_tensor(np.asarray(a, "float32")) for a in arrays]
