"""Insights into segmentation: weights and numbers of pixels, folders with masks, pictures, pages."""

import re

import keras
import numpy as np
import pytest
from PIL import Image

from keras_moe import insights, zoo
from keras_moe.cli import main
from keras_moe.datasets import digit_scenes
from keras_moe.insights.report import shared
from keras_moe.insights.segmentation_predictions import per_pixel

NAME = "test_segmentation"
one_backend = pytest.mark.skipif(keras.backend.backend() != "torch", reason="what is tested is NumPy and drawing")


def title(figure):
    return figure.get_suptitle()


def test_weights_at_every_pixel():
    predicted = np.array([[[0, 1, 1, 0]]])
    np.testing.assert_array_equal(per_pixel(np.array([[0.3, 0.7]]), predicted), [[[[0.3, 0.7]] * 4]])
    of_classes = per_pixel(np.array([[[0.3, 0.7], [1.0, 0.0]]]), predicted)
    np.testing.assert_array_equal(of_classes, [[[[0.3, 0.7], [1, 0], [1, 0], [0.3, 0.7]]]])
    of_map = per_pixel(np.array([[[[0.3, 0.7], [1.0, 0.0]]]]), predicted)
    np.testing.assert_array_equal(of_map, [[[[0.3, 0.7], [0.3, 0.7], [1, 0], [1, 0]]]])


def test_pictures_of_scenes():
    images = np.zeros((2, 2, 2, 3))
    predicted = np.array([[[0, 1], [1, 1]], [[0, 0], [0, 0]]])
    masks = np.array([[[0, 1], [0, 255]], [[255, 255], [0, 0]]])
    figure = insights.plot_predicted_masks(images, predicted, ["a", "b", "unseen"], masks, ["one", "two"])
    assert title(figure) == "Right are 66.7%, 100.0% of the pixels"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert title(insights.plot_predicted_masks(images, predicted, ["a", "b"])) == "What the model predicts"
    weights = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    figure = insights.plot_routing_weights(weights, np.array(["day", "day", "dusk"]))
    assert title(figure) == "Expert 0 has the largest mean weight in 66.7% of the images"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["day", "dusk"]
    unsure = {"entropy": np.array([[0.0, 0.2], [0.8, 1.0]])}
    figure = insights.plot_uncertainty_maps(images[0], unsure, predicted[0], masks[0])
    assert title(figure) == "Entropy is 0.80 where wrong, 0.10 where right"
    assert title(insights.plot_uncertainty_maps(images[0], unsure)) == "Entropy is 0.50 on average"


@pytest.fixture(scope="module")
def scenes():
    """What ``test_segmentation`` makes of 20 scenes of digits, some of their pixels without a label."""
    samples = insights.read_samples("digit_scenes", zoo.card(NAME))
    masks = samples.labels[:20].copy()
    masks[:, :4] = 255
    samples = insights.Samples(samples.images[:20], masks, "20 scenes", groups=samples.groups[:20])
    model = zoo.load(NAME)
    return model, samples, insights.collect_segmentation_predictions(model, samples)


@one_backend
def test_numbers_are_those_of_the_labelled_pixels(scenes):
    model, samples, found = scenes
    predicted, known = model.predict(samples.images, verbose=0).argmax(-1), samples.labels != 255
    right = predicted == samples.labels
    assert (found.step, found.groups, len(found.pixels.right)) == (1, ["bright", "dark"], known.sum())
    assert found.pixels.right.mean() == pytest.approx(right[known].mean())
    np.testing.assert_allclose(found.right, [r[k].mean() for r, k in zip(right, known, strict=True)])
    assert np.trace(found.confusion.sum(1)[0]) == right[known].sum()
    assert found.confusion.shape == (3, 2, 4, 4)
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-3)
    # In every group the expert of that domain knows more than the other: dark is domain 0, bright 1.
    assert found.miou[1, 1] > found.miou[2, 1]
    assert found.miou[2, 0] > found.miou[1, 0]


@one_backend
def test_fewer_pixels_where_there_are_many(scenes, monkeypatch):
    model, samples, whole = scenes
    monkeypatch.setattr("keras_moe.insights.segmentation_predictions.MAX_PIXELS", 20 * 16 * 16 // 4)
    found = insights.collect_segmentation_predictions(model, samples)
    assert (found.step, len(found.image)) == (2, 20 * 8 * 6)
    np.testing.assert_array_equal(found.confusion, whole.confusion)


@pytest.fixture
def undrawn(monkeypatch):
    """Pages whose pictures are made but not rendered, which takes longest."""
    monkeypatch.setattr(shared, "svg", lambda figure: "")


@one_backend
def test_a_page(scenes, undrawn):
    model, samples, found = scenes
    text = insights.create_segmentation_report(model, zoo.card(NAME), samples, found)
    fewer = insights.Samples(samples.images[:19], None, "19 scenes")
    with pytest.raises(ValueError, match=r"on 19 images\. Received: on 20"):
        insights.create_segmentation_report(model, zoo.card(NAME), fewer, found)
    for words in ("By group of images", "experts disagree on", "Class by class", "of the pixels are right"):
        assert words in text


@one_backend
def test_command_without_masks(undrawn, tmp_path):
    np.savez(tmp_path / "x.npz", images=digit_scenes()[1][0][:2])
    assert main(["insights", "test_patcher", str(tmp_path / "x.npz"), "--out", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    assert "scales of one encoder" in text
    assert "own predictions" in text
    assert not re.search(r"it is right on|confident by|errs on|mIoU alone|Class by class", text)


@pytest.fixture
def folder(tmp_path):
    """Two images in two groups, and their masks."""
    for group, value in (("day", 1), ("dusk", 3)):
        for kind in ("images", "masks"):
            (tmp_path / kind / group).mkdir(parents=True)
        mask = np.full((20, 40), value, "uint8")
        mask[:, :10] = 2  # cropped away
        mask[:5] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / group / "a.png")
        Image.new("RGB", (40, 20), "white").save(tmp_path / "images" / group / "a.jpg")
    return tmp_path


def test_folder_with_masks(folder):
    found = insights.read_samples(folder, zoo.card(NAME))
    assert (found.images.shape, found.labels.shape, found.groups.tolist()) == (
        (2, 16, 16, 1),
        (2, 16, 16),
        ["day", "dusk"],
    )
    for mask, value in zip(found.labels, (1, 3), strict=True):
        assert (set(mask[:4].flat), set(mask[4:].flat)) == ({255}, {value})
    (folder / "masks").rename(folder / "unused")
    assert insights.read_samples(folder, zoo.card(NAME)).labels is None


def _paint(folder, value, mode="L", size=(40, 20)):
    for group in ("day", "dusk"):
        Image.new(mode, size, value).save(folder / "masks" / group / "a.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: _paint(f, 7), r"0…3, or 255 to ignore. Received: \[7\]"),
        (lambda f: _paint(f, 255), "nothing to learn"),
        (lambda f: _paint(f, (0, 9, 9), "RGB"), "8 bits, grey or palette"),
        (lambda f: _paint(f, 1, size=(20, 40)), r"image's size \(40, 20\)"),
        (lambda f: (f / "masks" / "dusk" / "a.png").unlink(), "1 without, the first"),
        (lambda f: (f / "images").rename(f / "pictures"), "folder 'images'"),
        (lambda f: Image.fromarray(np.eye(20, 40, dtype="uint8") * 255).save(f / "masks/day/a.png"), "write 1"),
    ],
)  # fmt: skip
def test_bad_folders(folder, spoil, message):
    if message == "write 1":
        _paint(folder, 0)
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        insights.read_samples(folder, zoo.card(NAME))


def test_named_sets_of_another_size():
    assert len(digit_scenes()[1][0]) == len(insights.read_samples("digit_scenes", zoo.card(NAME)).groups)
    with pytest.raises(ValueError, match=r"shape \(256, 256, 3\), what patcher_kvasir takes"):
        insights.read_samples("digit_scenes", zoo.card("patcher_kvasir"))
    with pytest.raises(FileNotFoundError, match="'camvid', 'digit_scenes', 'kvasir'"):
        insights.read_samples("digits", zoo.card(NAME))
