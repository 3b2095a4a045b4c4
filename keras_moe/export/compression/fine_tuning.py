"""The part of ``compress`` that runs in the TensorFlow process: a model fine-tuned in ``tf_keras`` under a method."""

import collections.abc
import typing

import keras
import numpy as np
import tensorflow as tf

tf.keras.version()  # makes tf.keras Keras 3 before tfmot is imported, which would make it Keras 2 for all

import tf_keras  # noqa: E402

from keras_moe.batches import ImageBatches  # noqa: E402
from keras_moe.export.compression.methods import Cluster, Method, Prune  # noqa: E402
from keras_moe.export.compression.network import Network  # noqa: E402
from keras_moe.export.compression.quantization_aware import Qat  # noqa: E402
from keras_moe.export.tensorflow_process import send  # noqa: E402
from keras_moe.types import Array  # noqa: E402


def fine_tune(
    model: keras.Model,
    images: Array,
    labels: Array,
    names: list[str] | None,
    method: str,
    sparsity: float,
    clusters: int,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    augment: bool,
    seed: int,
) -> dict[str, Array]:
    """Gives ``model`` its compressed weights.

    Args:
        model, images, labels, …: what ``compress`` takes, checked.
        names: of the top-level layers to compress; None: all of it, as one network.

    Returns:
        dict, name of a network -> uint8 array, its ``.tflite`` file, where the method makes any.
    """
    batches = ImageBatches(images, labels, batch_size, augment, seed=seed)
    steps = epochs * len(batches)
    starts = range(0, min(8 * batch_size, len(images)), batch_size)
    some = [images[i : i + batch_size].astype("float32") for i in starts]
    makes: dict[str, collections.abc.Callable[[], Method]] = {
        "prune": lambda: Prune(sparsity, steps),
        "cluster": lambda: Cluster(clusters),
        "qat": Qat,
    }
    network = Network(model, names, makes[method](), some)
    rate = tf_keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=not network.ends_in_softmax)
    network.trained.compile(tf_keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    network.trained.fit(_Sequence(batches), epochs=epochs, shuffle=False, callbacks=[_Report()], verbose=0)
    return {name: np.frombuffer(content, "uint8") for name, content in network.finish().items()}


class _Sequence(tf_keras.utils.Sequence):
    def __init__(self, batches: ImageBatches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[Array, typing.Any]:
        return self.batches[i]

    def on_epoch_end(self) -> None:
        self.batches.on_epoch_end()


class _Report(tf_keras.callbacks.Callback):
    """Sends one message per batch and per epoch."""

    step = 0

    def on_train_batch_end(self, batch: int, logs: typing.Any = None) -> None:
        self.step += 1
        send(step=self.step, logs=_floats(logs))

    def on_epoch_end(self, epoch: int, logs: typing.Any = None) -> None:
        send(epoch=epoch, logs=_floats(logs))


def _floats(logs: dict[str, typing.Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}
