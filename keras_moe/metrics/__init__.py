"""How good a segmentation is, from label maps: confusion, intersection over union, calibration."""

import numpy as np

from keras_moe.checks import check, integer

IGNORE = 255


def confusion_matrix(masks, predicted, classes, ignore=IGNORE):
    """Pixels of label i that were predicted as j: int64 ``(classes, classes)``.

    Args:
        masks: integer labels of any shape, in 0…classes-1 or ``ignore``.
        predicted: integer array of the same shape, in 0…classes-1 wherever the mask counts.
        classes: int.
        ignore: int, the label that does not count; None: there is none.

    Raises:
        ValueError: shapes that differ, or labels out of range.
    """
    classes = integer("confusion_matrix", "classes", classes, 1)
    ignore = integer("confusion_matrix", "ignore", ignore, or_none=True)
    masks, predicted = np.asarray(masks), np.asarray(predicted)
    if masks.shape != predicted.shape:
        raise ValueError(f"Expected masks and predictions of one shape. Received: {masks.shape}, {predicted.shape}")
    counted = masks != ignore
    true, guess = masks[counted].astype("int64"), predicted[counted].astype("int64")
    if len(true) and (min(true.min(), guess.min()) < 0 or max(true.max(), guess.max()) >= classes):
        raise ValueError(f"Expected labels in 0…{classes - 1}, or {ignore} to ignore. Received others.")
    return np.bincount(true * classes + guess, minlength=classes**2).reshape(classes, classes)


def iou(confusion):
    """Intersection over union of each class, float64 ``(classes,)``; NaN for a class that is nowhere."""
    confusion = np.asarray(confusion, "float64")
    both, union = np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    return np.divide(both, union, out=np.full(len(both), np.nan), where=union > 0)


def mean_iou(confusion):
    """The mean of ``iou`` over the classes that are somewhere, in truth or in prediction; NaN if there are none."""
    found = iou(confusion)
    return float(np.nanmean(found)) if np.any(~np.isnan(found)) else float("nan")


def dice(masks, predicted):
    """Mean over images of twice the common foreground over the sum of both, as Patcher's authors measure it.

    Args:
        masks, predicted: bool or 0/1 arrays ``(n, h, w)``. Where both are empty an image counts 1.

    Raises:
        ValueError: shapes that differ.
    """
    masks, predicted = np.asarray(masks, bool), np.asarray(predicted, bool)
    if masks.shape != predicted.shape or masks.ndim != 3:
        raise ValueError(f"Expected masks and predictions (n, h, w). Received: {masks.shape}, {predicted.shape}")
    both = (masks & predicted).sum((1, 2))
    return float(np.mean((2 * both + 1e-4) / (masks.sum((1, 2)) + predicted.sum((1, 2)) + 1e-4)))


def expected_calibration_error(confidence, correct, bins=15):
    """Mean distance of confidence and accuracy over equal bins of confidence, each weighted by what it holds (ECE).

    Args:
        confidence: floats in [0, 1], of any shape: the largest probability of each prediction.
        correct: bool, the same shape.
        bins: int.

    Returns:
        float in [0, 1]; NaN for no predictions.
    """
    bins = integer("expected_calibration_error", "bins", bins, 1)
    confidence, correct = np.ravel(confidence).astype("float64"), np.ravel(correct).astype("float64")
    if len(confidence) == 0:
        return float("nan")
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    off = np.bincount(which, confidence - correct, minlength=bins)
    return float(np.abs(off).sum() / len(confidence))


def measure_segmenter(network, images, masks, classes, batch_size=16, ignore=IGNORE):
    """What a segmentation network is worth on labelled images.

    Args:
        network: a Keras model from images to logits ``(n, h, w, classes)``.
        images, masks: ``(n, h, w, c)`` and integers ``(n, h, w)``.
        classes, ignore: ints; ``ignore`` None: every pixel counts.
        batch_size: int.

    Returns:
        dict: ``"miou"``, ``"accuracy"`` (of pixels), ``"ece"``, floats; ``"iou"``, list of a float or None per class.

    Raises:
        ValueError: an argument out of range, or masks without a labelled pixel.
    """
    classes = integer("measure_segmenter", "classes", classes, 1)
    batch_size = integer("measure_segmenter", "batch_size", batch_size, 1)
    ignore = integer("measure_segmenter", "ignore", ignore, or_none=True)
    masks = np.asarray(masks)
    check("measure_segmenter", "masks", masks.shape, np.any(masks != ignore), "masks with at least one labelled pixel")
    confusion, confidence, correct = np.zeros((classes, classes), "int64"), [], []
    for i in range(0, len(images), batch_size):
        logits = network.predict_on_batch(images[i : i + batch_size].astype("float32"))
        mask, guess = masks[i : i + batch_size], logits.argmax(-1)
        confusion += confusion_matrix(mask, guess, classes, ignore)
        counted = mask != ignore
        confidence.append(_largest_probability(logits[counted]))
        correct.append(guess[counted] == mask[counted])
    return {
        "miou": mean_iou(confusion),
        "accuracy": float(np.trace(confusion) / confusion.sum()),
        "ece": expected_calibration_error(np.concatenate(confidence), np.concatenate(correct)),
        "iou": [None if np.isnan(x) else float(x) for x in iou(confusion)],
    }


def _largest_probability(logits):
    logits = logits - logits.max(-1, keepdims=True)
    return 1 / np.exp(logits).sum(-1)
