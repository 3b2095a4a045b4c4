"""Takes a classifier to new images: turns it into a mixture of experts and trains that in frozen stages.

    python examples/upcycle_and_finetune.py                                  # scikit-learn's handwritten digits
    python examples/upcycle_and_finetune.py --images FOLDER                  # FOLDER/<class>/<image>
    python examples/upcycle_and_finetune.py --start MobileNetV3Small         # ImageNet weights: a download

1. A published classifier (or one of ``keras.applications``) gets a new head, which is trained first.
2. ``upcycle`` turns it into a single-gated mixture: the classifier stays whole as the base, four experts are copies of
   its tail. Nothing has changed yet: the predictions are the same.
3. Gate and experts train, each alone, the base frozen; ``--jobs 2`` trains experts in two processes.
4. A threshold is set on held-out images for a budget of 1.1 times the base.
"""

import argparse
import pathlib
import tempfile

import keras
import numpy as np
from sklearn.datasets import load_digits

from keras_moe import zoo
from keras_moe.images import read_image
from keras_moe.models import upcycle
from keras_moe.training import Recipe, fit_threshold, train_single_gated

SIZE = (32, 32, 3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=pathlib.Path, metavar="FOLDER", help="one folder per class")
    parser.add_argument("--start", default="resnet14_cifar100", help="of the zoo, or of keras.applications")
    parser.add_argument("--split-at", metavar="LAYER", help="where the experts begin; proposed if left out")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--jobs", type=int, help="processes for the experts")
    arguments = parser.parse_args()

    images, labels = folder(arguments.images) if arguments.images else digits()
    keras.utils.set_random_seed(0)
    order = np.random.default_rng(0).permutation(len(images))
    parts = np.split(order, [len(order) * 7 // 10, len(order) * 8 // 10])
    train, held_out, test = ((images[part], labels[part]) for part in parts)
    batch = min(32, len(train[0]))

    base = start(arguments.start, int(labels.max()) + 1)
    base.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    base.fit(*train, batch_size=batch, epochs=arguments.epochs, verbose=2)

    model = upcycle(base, arguments.split_at, num_experts=4)
    print(f"cut after {model.get_config()['split_at']!r}; MACs of each part: {model.macs_by_part()}")
    recipe = Recipe(arguments.epochs, batch_size=batch, learning_rate=1e-3, augment=False)
    with tempfile.TemporaryDirectory() as run:
        train_single_gated(model, train, held_out, run, recipe, n_jobs=arguments.jobs)

    expected = fit_threshold(model, *held_out, budget=1.1 * model.macs_by_part()["base"])
    predictions, route = model.predict_routed(test[0])
    of_base = base.predict(test[0], verbose=0).argmax(1)
    print(f"base alone: {np.mean(of_base == test[1]):.2%} on {len(test[0])} test images")
    print(f"mixture: {np.mean(predictions.argmax(1) == test[1]):.2%}, {np.mean(~route.any(1)):.0%} left early")
    parts = {"mixture": model.mean_macs(route=route), "expected": expected.macs, "base": model.macs_by_part()["base"]}
    print("MACs: " + ", ".join(f"{name} {macs / 1e6:.2f} M" for name, macs in parts.items()))


def start(name, classes):
    """A classifier with trained weights and a new head that ends in logits."""
    if name in zoo.list_models():
        return zoo.load(name, classes=classes, classifier_activation=None)
    body = getattr(keras.applications, name)(input_shape=SIZE, include_top=False, pooling="avg", weights="imagenet")
    return keras.Sequential([keras.Input(SIZE), body, keras.layers.Dense(classes)])


def digits():
    data = load_digits()
    grey = np.kron(data.images, np.ones((4, 4))) * (255 / 16)
    return np.repeat(grey[..., None], 3, axis=-1).astype("uint8"), data.target


def folder(path):
    names = sorted(p.name for p in path.iterdir() if p.is_dir())
    files = [(file, i) for i, name in enumerate(names) for file in sorted((path / name).iterdir())]
    if len(names) < 2:
        raise SystemExit(f"Expected a folder with one folder of images per class. Received: {path}, classes {names}")
    return np.stack([read_image(file, SIZE) for file, _ in files]).astype("uint8"), np.array([i for _, i in files])


if __name__ == "__main__":
    main()
