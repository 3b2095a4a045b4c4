"""Views of images with masks: windows, turns, colours; and the learning rate of a backbone."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from keras_moe.models import Segmenter, UNet
from keras_moe.training import MaskBatches, MaskViews, Recipe, StructureLoss, run_stages, segmentation_stage
from keras_moe.training.classification import adamw
from keras_moe.training.mask_views import Colors, View, recolored

WHOLE = (0.0, 0.0, 4.0, 4.0)
MASK = np.arange(16, dtype="uint8").reshape(4, 4)
IMAGE = np.repeat(MASK[..., None] * 10, 3, -1)
STRONG = MaskViews(zoom=2, shrink=1.5, turn=True, recolor=1, degrade=0.5)


@pytest.mark.once
def test_windows_turns_and_flips_by_hand():
    np.testing.assert_array_equal(View(WHOLE, False).of_mask(MASK), MASK)
    np.testing.assert_array_equal(View(WHOLE, False).of_image(IMAGE), IMAGE)
    np.testing.assert_array_equal(View(WHOLE, True).of_mask(MASK)[0], [3, 2, 1, 0])
    np.testing.assert_array_equal(View(WHOLE, False, turns=1).of_mask(MASK)[0], [3, 7, 11, 15])  # to the left
    turned = View(WHOLE, True, turns=3)
    np.testing.assert_array_equal(turned.of_image(IMAGE)[..., 1], 10 * turned.of_mask(MASK))
    middle = View((1.0, 1.0, 3.0, 3.0), False).of_mask(MASK)
    np.testing.assert_array_equal(middle, [[5, 5, 6, 6], [5, 5, 6, 6], [9, 9, 10, 10], [9, 9, 10, 10]])


@pytest.mark.once
def test_outside_of_the_image_is_black_and_has_no_label():
    mask = View((-2.0, -4.0, 6.0, 4.0), False).of_mask(np.ones((4, 4), "uint8"))
    np.testing.assert_array_equal(mask, [[255] * 4, [255] * 4, [255, 1, 1, 255], [255, 1, 1, 255]])
    image = View((-4.0, 0.0, 0.0, 4.0), False).of_image(np.full((4, 4, 3), 200, "uint8"))
    assert image.max() == 0


@pytest.mark.once
def test_colours_by_hand():
    image = np.array([[[0, 0, 0], [100, 100, 100]], [[200, 200, 200], [100, 100, 100]]], "uint8")
    np.testing.assert_array_equal(recolored(image, Colors(hue=0.5, saturation=2.0)), image)  # greys stay grey
    np.testing.assert_array_equal(recolored(image, Colors(contrast=0.5))[:, :, 0], [[50, 100], [150, 100]])
    np.testing.assert_array_equal(recolored(image, Colors(brightness=1.5))[:, :, 0], [[0, 150], [255, 150]])
    np.testing.assert_array_equal(recolored(image, Colors(gamma=2.0))[0, 1], [39, 39, 39])  # 255 (100 / 255)^2 = 39.2
    red = np.full((1, 1, 3), (200, 100, 100), "uint8")
    np.testing.assert_array_equal(
        recolored(red, Colors(saturation=0.0))[0, 0], [130, 130, 130]
    )  # 0.299 200 + 0.701 100
    halved = recolored(red, Colors(saturation=0.5))[0, 0].astype(int)
    np.testing.assert_allclose(halved, [165, 115, 115], atol=1)
    turned = recolored(red, Colors(hue=0.4))[0, 0].astype(int)
    assert turned[1] > turned[2] + 20 or turned[2] > turned[1] + 20  # no longer red


@pytest.mark.once
def test_views_depend_on_seed_epoch_and_image_alone():
    rng = np.random.default_rng(0)
    images, masks = rng.integers(0, 256, (6, 16, 16, 3), "uint8"), rng.integers(0, 2, (6, 16, 16), "uint8")
    data = MaskBatches(images, masks, 3, views=STRONG, seed=1)
    first = data[1]
    data.on_epoch_end()
    assert not np.array_equal(data[1][0], first[0])
    resumed = MaskBatches(images, masks, 3, views=STRONG, seed=1)
    np.testing.assert_array_equal(resumed[1][0], first[0])
    np.testing.assert_array_equal(resumed[1][1], first[1])
    resumed.epoch = 1
    np.testing.assert_array_equal(resumed[0][0], data[0][0])
    assert set(np.unique(first[1])) <= {0, 1, 255}
    assert first[0].dtype == np.float32
    assert first[0].max() <= 255


@pytest.mark.once
@pytest.mark.parametrize(
    ("views", "images", "match"),
    [
        (MaskViews(turn=True), np.zeros((4, 4, 8, 3), "uint8"), r"square images to turn\. Received: 4x8"),
        (MaskViews(recolor=0.1), np.zeros((4, 4, 4, 1), "uint8"), "RGB images to recolor"),
        (MaskViews(degrade=0.1), np.zeros((4, 4, 4, 1), "float32"), "uint8 images"),
        (MaskViews(), np.zeros((4, 4, 4, 3), "float32"), "uint8 images"),
    ],
)
def test_images_that_cannot_be_seen_so(views, images, match):
    with pytest.raises(ValueError, match=match):
        MaskBatches(images, np.zeros(images.shape[:3], "uint8"), 2, views=views)
    MaskBatches(images, np.zeros(images.shape[:3], "uint8"), 2, augment=False, views=views)


@pytest.mark.once
@pytest.mark.parametrize("options", [{"zoom": 0.5}, {"shrink": 0.9}, {"recolor": 1.5}, {"degrade": -0.1}], ids=str)
def test_bad_views(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MaskViews(**options)


def test_a_backbone_takes_smaller_steps(tmp_path):
    model = UNet((8, 8, 3), (4, 4), backbone="resnet8", alpha=0.5, classifier_activation=None)
    assert isinstance(adamw(Recipe(1), 4), keras.optimizers.AdamW)
    recipe = Recipe(1, batch_size=4, learning_rate=0.01, warmup=0, final=1.0, backbone_rate=0.1, weight_decay=0.0)
    before = {v.path: ops.convert_to_numpy(v) for v in model.trainable_variables}
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype("uint8")
    masks = (images[..., 0] > 127).astype("uint8")
    run_stages(model, [segmentation_stage(model, recipe, (images, masks), loss=StructureLoss())], tmp_path, verbose=0)
    steps = {v.path: np.abs(ops.convert_to_numpy(v) - before[v.path]).max() for v in model.trainable_variables}
    # Adam's first step is the learning rate for each number that has a gradient.
    assert steps["stem_conv/kernel"] == pytest.approx(0.001, rel=1e-2)
    assert steps["stage1_block0_conv1_bn/beta"] == pytest.approx(0.001, rel=1e-2)
    assert steps["decode_0_conv_0/kernel"] == pytest.approx(0.01, rel=1e-2)
    assert steps["predictions/kernel"] == pytest.approx(0.01, rel=1e-2)


def test_a_rate_for_a_backbone_that_is_not_there():
    model = UNet((8, 8, 3), (4, 4), classifier_activation=None)
    recipe = dataclasses.replace(Recipe(1, batch_size=4), backbone_rate=0.1)
    with pytest.raises(ValueError, match="a named backbone that learns"):
        adamw(recipe, 4).build(model.trainable_variables)
    with pytest.raises(ValueError, match="backbone_rate"):
        Recipe(1, backbone_rate=0)
    adamw(recipe, 4).build(Segmenter((16, 16, 3), 0.5, "resnet8", classes=3).trainable_variables)
