"""Metrics of segmentation from label maps: confusion, intersection over union, Dice."""

import typing

import numpy as np
import numpy.typing as npt

from keras_moe.checks import check, integer
from keras_moe.metrics.calibration import expected_calibration_error

if typing.TYPE_CHECKING:
    import keras

IGNORE = 255


def confusion_matrix(
    masks: npt.ArrayLike, predicted: npt.ArrayLike, classes: int, ignore: int | None = IGNORE
) -> np.ndarray:
    """Pixels of label i that were predicted as j: int64 ``(classes, classes)``.

    Args:
        masks: integer labels of any shape, in 0…classes-1 or ``ignore``.
        predicted: integer array of the same shape, in 0…classes-1 wherever the mask counts.
        classes: int.
        ignore: int, the label that does not count; None: there is none.

    Raises:
        ValueError: shapes that differ, labels out of range, or numbers that are no labels, such as probabilities.

    Example:
        >>> metrics.confusion_matrix([0, 0, 1, 255], [0, 1, 1, 0], classes=2)
        array([[1, 1],
               [0, 1]])
    """
    classes = integer("confusion_matrix", "classes", classes, 1)
    ignore = integer("confusion_matrix", "ignore", ignore, or_none=True)
    masks, predicted = np.asarray(masks), np.asarray(predicted)
    if masks.shape != predicted.shape:
        raise ValueError(f"Expected masks and predictions of one shape. Received: {masks.shape}, {predicted.shape}")
    for name, labels in (("masks", masks), ("predicted", predicted)):
        check("confusion_matrix", name, labels.dtype, labels.dtype.kind in "biu" or not labels.size, "integers or bool")
    counted = masks != ignore
    true, guess = masks[counted].astype("int64"), predicted[counted].astype("int64")
    if len(true) and (min(true.min(), guess.min()) < 0 or max(true.max(), guess.max()) >= classes):
        raise ValueError(f"Expected labels in 0…{classes - 1}, or {ignore} to ignore. Received others.")
    return np.bincount(true * classes + guess, minlength=classes**2).reshape(classes, classes)


def iou(confusion: npt.ArrayLike) -> np.ndarray:
    """Intersection over union of each class.

    Args:
        confusion: int ``(classes, classes)``, a ``confusion_matrix``.

    Returns:
        float64 ``(classes,)``; NaN for a class that is neither in the labels nor predicted.

    Example:
        >>> metrics.iou([[1, 1], [0, 1]])  # each class: 1 pixel in common, 2 in the union
        array([0.5, 0.5])
    """
    confusion = np.asarray(confusion, "float64")
    both, union = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    shares: np.ndarray = np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)
    return shares


def mean_iou(confusion: npt.ArrayLike) -> float:
    """The mean of ``iou`` over the classes that have one; NaN if none has.

    Args:
        confusion: int ``(classes, classes)``, a ``confusion_matrix``.

    Example:
        >>> metrics.mean_iou([[1, 1, 0], [0, 1, 0], [0, 0, 0]])  # the third class is nowhere
        0.5
    """
    values = iou(confusion)
    return float(np.nanmean(values)) if np.any(~np.isnan(values)) else float("nan")


def dice(masks: npt.ArrayLike, predicted: npt.ArrayLike) -> float:
    """Mean over images of twice the common foreground over the sum of both, as Patcher's authors measure it.

    Args:
        masks, predicted: bool or 0/1 arrays ``(n, h, w)``. Where both are empty an image counts 1.

    Raises:
        ValueError: shapes that differ, or other numbers, such as probabilities or an ignore label.

    Example:
        One pixel in common, one and two in the masks.

        >>> round(metrics.dice([[[1, 1, 0]]], [[[0, 1, 0]]]), 4)  # 2 * 1 / (2 + 1)
        0.6667
    """
    masks, predicted = _foreground("masks", masks), _foreground("predicted", predicted)
    if masks.shape != predicted.shape or masks.ndim != 3:
        raise ValueError(f"Expected masks and predictions (n, h, w). Received: {masks.shape}, {predicted.shape}")
    both = (masks & predicted).sum((1, 2))
    return float(np.mean((2 * both + 1e-4) / (masks.sum((1, 2)) + predicted.sum((1, 2)) + 1e-4)))


def measure_segmenter(
    network: "keras.Model",
    images: np.ndarray,
    masks: npt.ArrayLike,
    classes: int,
    batch_size: int = 16,
    ignore: int | None = IGNORE,
) -> dict[str, typing.Any]:
    """Measures of a segmentation network on labelled images.

    Args:
        network: a Keras model from images to logits or probabilities ``(n, h, w, classes)``.
        images, masks: ``(n, h, w, c)`` and integers ``(n, h, w)``.
        classes, ignore: ints; ``ignore`` None: every pixel counts.
        batch_size: int.

    Returns:
        dict: ``"miou"``, ``"accuracy"`` (of pixels), ``"ece"``, floats; ``"iou"``, list of a float or None per class.

    Raises:
        ValueError: an argument out of range, masks without a labelled pixel, another number of masks than of images, or
            predictions that are not finite.

    Example:
        A network that returns its input, and one image of two pixels, both of class 0; it is right about the first.

        >>> inputs = keras.Input((1, 2, 2))
        >>> network = keras.Model(inputs, keras.layers.Identity()(inputs))
        >>> image = np.array([[[[9.0, 0.0], [0.0, 9.0]]]])
        >>> figures = metrics.measure_segmenter(network, image, np.zeros((1, 1, 2), int), classes=2)
        >>> figures["accuracy"], figures["iou"], figures["miou"], round(figures["ece"], 2)
        (0.5, [0.5, 0.0], 0.25, 0.5)
    """
    classes = integer("measure_segmenter", "classes", classes, 1)
    batch_size = integer("measure_segmenter", "batch_size", batch_size, 1)
    ignore = integer("measure_segmenter", "ignore", ignore, or_none=True)
    masks = np.asarray(masks)
    check("measure_segmenter", "masks", masks.shape, np.any(masks != ignore), "masks with at least one labelled pixel")
    check("measure_segmenter", "masks", len(masks), len(masks) == len(images), f"{len(images)}, one for each image")
    confusion, confidence, correct = np.zeros((classes, classes), "int64"), [], []
    for i in range(0, len(images), batch_size):
        predictions = network.predict_on_batch(images[i : i + batch_size].astype("float32"))
        if not np.all(np.isfinite(predictions)):
            raise ValueError(
                f"measure_segmenter: {network.name!r} returns NaN or infinity, of which class 0 would be made"
            )
        mask, guess = masks[i : i + batch_size], predictions.argmax(-1)
        confusion += confusion_matrix(mask, guess, classes, ignore)
        counted = mask != ignore
        confidence.append(_largest_probability(predictions[counted]))
        correct.append(guess[counted] == mask[counted])
    return {
        "miou": mean_iou(confusion),
        "accuracy": float(np.trace(confusion) / confusion.sum()),
        "ece": expected_calibration_error(np.concatenate(confidence), np.concatenate(correct)),
        "iou": [None if np.isnan(x) else float(x) for x in iou(confusion)],
    }


def _foreground(name: str, values: npt.ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    check(
        "dice", name, array.dtype, array.dtype == bool or np.all((array == 0) | (array == 1)), "bool, or 0 and 1 alone"
    )
    return array.astype(bool)


def _largest_probability(predictions: np.ndarray) -> np.ndarray:
    """Of logits, or of probabilities: rows of numbers from 0 on that sum to one."""
    logits = predictions.astype("float64")
    if np.all(logits >= 0) and np.allclose(logits.sum(-1), 1, rtol=0, atol=1e-2):
        return np.asarray(logits.max(-1))
    largest: np.ndarray = 1 / np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)
    return largest
