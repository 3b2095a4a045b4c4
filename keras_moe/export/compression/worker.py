"""The process behind ``keras_moe.export.compress``: ``python -m keras_moe.export.compression.worker FOLDER``."""

import json
import pathlib
import sys

import keras
import tensorflow as tf

tf.keras.version()  # makes tf.keras Keras 3 before tfmot is imported, which would make it Keras 2 for all

import tf_keras  # noqa: E402

from keras_moe import models  # noqa: E402, F401 (registers the classes)
from keras_moe.export.compression.methods import method_of  # noqa: E402
from keras_moe.export.compression.network import Network  # noqa: E402
from keras_moe.training.batches import ImageBatches  # noqa: E402
from keras_moe.weights import load_weights, read_tensors, save_weights  # noqa: E402


def main(folder):
    job = json.loads((folder / "job.json").read_text())
    model = keras.saving.deserialize_keras_object(job["model"])
    load_weights(model, folder / "weights.safetensors")
    data = read_tensors(folder / "train.safetensors")
    batches = ImageBatches(data["images"], data["labels"], job["batch_size"], job["augment"], seed=job["seed"])
    size = job["batch_size"]
    some = [data["images"][i : i + size].astype("float32") for i in range(0, min(8 * size, len(data["images"])), size)]
    method = method_of(job, steps=job["epochs"] * len(batches))
    network = Network(model, job["networks"], method, some)
    train(network, batches, job)
    for name, content in network.finish().items():
        (folder / f"{name}.tflite").write_bytes(content)
    save_weights(model, folder / "compressed.safetensors")


def train(network, batches, job):
    rate = tf_keras.optimizers.schedules.CosineDecay(job["learning_rate"], job["epochs"] * len(batches))
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=not network.ends_in_softmax)
    network.trained.compile(tf_keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    network.trained.fit(_Sequence(batches), epochs=job["epochs"], shuffle=False, callbacks=[_Report()], verbose=0)


class _Sequence(tf_keras.utils.Sequence):
    def __init__(self, batches):
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        return self.batches[i]

    def on_epoch_end(self):
        self.batches.on_epoch_end()


class _Report(tf_keras.callbacks.Callback):
    """Says one line of JSON on standard output per batch and per epoch."""

    step = 0

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        _say(step=self.step, logs=logs)

    def on_epoch_end(self, epoch, logs=None):
        _say(epoch=epoch, logs=logs)


def _say(logs, **where):
    print(json.dumps({**where, "logs": {k: float(v) for k, v in logs.items()}}), file=_OUT, flush=True)


if __name__ == "__main__":
    # Whatever else the libraries print must not get between the lines of JSON.
    _OUT, sys.stdout = sys.stdout, sys.stderr
    given = pathlib.Path(sys.argv[1])
    try:
        main(given)
    except ValueError as error:
        (given / "refused").write_text(str(error), "utf-8")
        raise
