"""Segmentation metrics against numbers worked out by hand."""

import numpy as np
import pytest

from keras_moe.metrics import (
    confidence_bins,
    confusion_matrix,
    dice,
    expected_calibration_error,
    iou,
    mean_iou,
    measure_segmenter,
    psnr_from_mse,
    wilson_interval,
)

pytestmark = pytest.mark.once

MASK = np.array([[0, 0, 1], [1, 2, 255]])
GUESS = np.array([[0, 1, 1], [1, 0, 2]])


def test_confusion_and_iou_by_hand():
    confusion = confusion_matrix(MASK, GUESS, 4)
    np.testing.assert_array_equal(confusion, [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(iou(confusion), [1 / 3, 2 / 3, 0, np.nan])
    assert mean_iou(confusion) == pytest.approx(1 / 3)


def test_nothing_to_count():
    empty = confusion_matrix(np.full((2, 2), 255), np.zeros((2, 2), int), 3)
    assert empty.sum() == 0
    assert np.isnan(mean_iou(empty))
    assert np.isnan(expected_calibration_error([], []))


def test_calibration_by_hand():
    # Bins of 0.1: 0.95 and 0.95 hold one right of two, off by 0.45; 0.55 is wrong, off by 0.55.
    assert expected_calibration_error([0.95, 0.95, 0.55], [1, 0, 0], bins=10) == pytest.approx((2 * 0.45 + 0.55) / 3)
    assert expected_calibration_error([1.0, 1.0], [True, True]) == 0


def test_the_upper_end_belongs_to_a_bin_and_zero_to_the_first():
    np.testing.assert_array_equal(confidence_bins([[0.0, 0.2], [0.5, 0.51]], bins=2), [[0, 0], [0, 1]])


def test_dice_by_hand():
    masks, predicted = np.array([[[1, 1, 0]], [[0, 0, 0]]]), np.array([[[0, 1, 0]], [[0, 0, 0]]])
    assert dice(masks, predicted) == pytest.approx((2 / 3 + 1) / 2, abs=1e-4)  # an image that is empty in both counts 1


def test_psnr_of_several_errors():
    np.testing.assert_allclose(psnr_from_mse([255.0**2, 25.5**2, 0.0]), [0, 20, np.inf], atol=1e-12)


@pytest.mark.parametrize(
    ("mask", "guess"), [(MASK, GUESS[:1]), (MASK, GUESS + 3), (MASK - 1, GUESS), (MASK.clip(0, 7), GUESS)]
)
def test_bad_input(mask, guess):
    with pytest.raises(ValueError, match=r"one shape|labels in 0…3"):
        confusion_matrix(mask, guess, 4)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: confusion_matrix([0, 1], [0.2, 0.9], 2), "`predicted` must be integers or bool"),
        (lambda: dice(np.zeros((1, 1, 2)), [[[0.2, 0.9]]]), "`predicted` must be bool, or 0 and 1 alone"),
        (lambda: dice([[[0, 255]]], np.zeros((1, 1, 2))), "`masks` must be bool, or 0 and 1 alone"),
        (lambda: expected_calibration_error([75.0], [True]), r"`confidence` must be in \[0, 1\]"),
        (lambda: confidence_bins([0.5, np.nan]), r"`confidence` must be in \[0, 1\]"),
        (lambda: expected_calibration_error([0.5, 0.7], [True]), "`correct` must be one per confidence"),
    ],
)
def test_numbers_of_another_kind_are_refused(ask, message):
    with pytest.raises(ValueError, match=message):
        ask()


@pytest.mark.parametrize(
    ("value", "count", "message"), [(np.nan, 1, "NaN or infinity"), (1.0, 2, "`masks` must be 2,")]
)
def test_a_segmenter_that_cannot_be_measured(value, count, message):
    import keras

    inputs = keras.Input((1, 1, 2))
    network = keras.Model(inputs, keras.layers.Identity()(inputs))
    with pytest.raises(ValueError, match=message):
        measure_segmenter(network, np.full((count, 1, 1, 2), value), np.zeros((1, 1, 1), int), 2)


def test_measure_segmenter_by_hand():
    import keras

    # Logits that are the image itself: three channels, three classes.
    inputs = keras.Input((2, 3, 3))
    network = keras.Model(inputs, keras.layers.Identity()(inputs))
    images = np.log(np.eye(3)[GUESS] * 7 + 1)[None]  # the largest of three probabilities is 8 / 10
    found = measure_segmenter(network, images, MASK[None], 3)
    assert found["iou"] == pytest.approx([1 / 3, 2 / 3, 0])
    assert found["accuracy"] == pytest.approx(3 / 5)
    assert found["ece"] == pytest.approx(0.2, abs=1e-6)
    assert measure_segmenter(network, np.exp(images) / 10, MASK[None], 3)["ece"] == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("n", [0, 2])
def test_a_segmenter_is_not_measured_without_labels(n):
    images, masks = np.zeros((n, 4, 4, 3)), np.full((n, 4, 4), 255)
    with pytest.raises(ValueError, match="measure_segmenter: `masks` must be masks with at least one labelled pixel"):
        measure_segmenter(None, images, masks, 3)


def test_wilson_interval_by_hand():
    """8 of 10: (0.8 + 0.19207 ± 1.96 sqrt(0.016 + 0.0096)) / 1.38415."""
    assert wilson_interval(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    with pytest.raises(ValueError, match="`right` must be"):
        wilson_interval(11, 10)
