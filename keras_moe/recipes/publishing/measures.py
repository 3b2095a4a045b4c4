"""Quality and cost of a model on the test split of its data set."""

import typing

import numpy as np

from keras_moe.datasets import CAMVID_DOMAINS, camvid, cifar100, digit_scenes, digits, kvasir, super_resolution
from keras_moe.datasets.patches import bicubic, shrink
from keras_moe.metrics import dice, luma, measure_segmenter, psnr
from keras_moe.models import ClassSR, MoEModel, SuperResolutionNetwork


def measure_on_cifar100(network: MoEModel) -> dict[str, typing.Any]:
    """``measure_classifier`` on the 10,000 test images."""
    return measure_classifier(network, *cifar100()[1])


def measure_on_digits(network: MoEModel) -> dict[str, typing.Any]:
    """``measure_classifier`` on the 397 test digits."""
    return measure_classifier(network, *digits()[1])


def measure_on_camvid(network: MoEModel) -> dict[str, typing.Any]:
    """``measure_segmentation`` on the test images at the network's size, and mean IoU by day and at dusk."""
    images, masks, domains = camvid("test", network.input_shape[1:3])
    measured = measure_segmentation(network, images, masks)
    for domain, label in enumerate(CAMVID_DOMAINS):
        of_domain = domains == domain
        measured[f"miou_{label}"] = measure_segmenter(network, images[of_domain], masks[of_domain], 11)["miou"]
    return measured


def measure_on_kvasir(network: MoEModel) -> dict[str, typing.Any]:
    """``measure_polyps`` on the test images."""
    return measure_polyps(network, *kvasir("test"))


def measure_polyps(network: MoEModel, images: np.ndarray, masks: np.ndarray) -> dict[str, typing.Any]:
    """``measure_segmentation``, Dice and the IoU of polyps."""
    measured = measure_segmentation(network, images, masks)
    guesses = [network.predict_on_batch(image[None].astype("float32")).argmax(-1) for image in images]
    return {"dice": dice(masks, np.concatenate(guesses)), "iou_polyp": measured["iou"][1], **measured}


def measure_on_digit_scenes(network: MoEModel) -> dict[str, typing.Any]:
    """``measure_segmentation`` on the 118 test scenes."""
    images, masks, _ = digit_scenes()[1]
    return measure_segmentation(network, images, masks)


def measure_on_photographs(network: ClassSR | SuperResolutionNetwork) -> dict[str, typing.Any]:
    """``measure_upscaling`` on Set14 and on 18 larger photographs."""
    return measure_upscaling(network, {name: super_resolution(name) for name in ("set14", "photos2k")})


def measure_classifier(
    network: MoEModel, images: np.ndarray, labels: np.ndarray, batch_size: int = 256
) -> dict[str, typing.Any]:
    """Accuracy, mean MACs executed and the share of images each expert ran for, in one pass.

    ``accuracy`` is the mean over images, ``accuracy_of_classes`` the mean over classes.

    Args:
        network: an ``MoEModel`` with a head.
        images, labels: ``(n, h, w, c)`` and int ``(n,)``.

    Returns:
        dict of floats and, for a routed network, ``"usage"``: list of floats.
    """
    predictions, route = network.predict_routed(images, batch_size=batch_size)
    right = predictions.argmax(-1) == labels
    of_classes = [right[labels == c].mean() for c in np.unique(labels)]
    measured: dict[str, typing.Any] = {
        "accuracy": float(right.mean()),
        "accuracy_of_classes": float(np.mean(of_classes)),
    }
    if route is None:
        return {**measured, "macs_executed": float(network.macs_total)}
    return {**measured, "macs_executed": network.mean_macs(route=route), "usage": (route != 0).mean(0).tolist()}


def measure_segmentation(network: MoEModel, images: np.ndarray, masks: np.ndarray) -> dict[str, typing.Any]:
    """``measure_segmenter`` of an ``MoEModel`` that ends in logits or in a softmax, and the mean MACs executed."""
    measured = measure_segmenter(network, images, masks, network.output_shape[-1])
    return {**measured, "macs_executed": network.mean_macs(images=images)}


def measure_upscaling(
    network: ClassSR | SuperResolutionNetwork, sets: dict[str, list[np.ndarray]]
) -> dict[str, typing.Any]:
    """PSNR of the luma on whole images (uint8, ``scale`` pixels of border left out) and the mean MACs of a patch.

    Images are cut as ``upscale`` does by default.

    Args:
        network: a ``ClassSR`` or ``SuperResolutionNetwork``.
        sets: dict, name -> list of photographs, uint8 ``(h, w, 3)``; the MACs of a patch are those of the last set.

    Returns:
        dict: ``"psnr_y_<set>"`` and ``"bicubic_psnr_y_<set>"`` in dB, ``"gmacs_<set>"``, the billions of MACs of an
        image, overlap and class module included, all three means over images; ``"macs_executed"`` per patch of
        the model's input shape and, for a mixture, ``"usage"``, the share of patches of each branch.
    """
    measured: dict[str, typing.Any] = {}
    routes: list[np.ndarray] = []
    for name, photos in sets.items():
        ours, plain, gmacs = [], [], []
        routes = []
        for photo in photos:
            low, high = shrink(photo, network.scale)
            upscaled = network.upscale_routed(low, verbose=False)
            ours.append(psnr(luma(upscaled.image), luma(high), network.scale))
            plain.append(psnr(luma(bicubic(low, network.scale)), luma(high), network.scale))
            gmacs.append(upscaled.macs / 1e9)
            routes.append(upscaled.route.ravel())
        for of, values in (("psnr_y", ours), ("bicubic_psnr_y", plain), ("gmacs", gmacs)):
            measured[f"{of}_{name}"] = float(np.mean(values))
    if network.bank is None:
        return {**measured, "macs_executed": float(network.macs_total)}
    route = np.eye(len(network.bank.experts))[np.concatenate(routes)]
    return {**measured, "macs_executed": network.mean_macs(route=route), "usage": route.mean(0).tolist()}
