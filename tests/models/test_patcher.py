"""Patcher: patches with context and back, attention, its loss, its sizes, its baseline."""

import keras
import numpy as np
import pytest
from descriptors import PATCHER, TWO_SCALES
from keras import ops

from keras_moe import cost, metrics, models
from keras_moe.layers import EfficientAttention, PatchWise
from keras_moe.layers.patchwise import join_patches, split_patches
from keras_moe.models import backbones
from keras_moe.models.growth import assign_dense, dense_values
from keras_moe.training import StructureLoss


def test_patches_with_context_by_hand():
    x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    patches = ops.convert_to_numpy(split_patches(x, 2, 1))[..., 0]
    assert patches.shape == (4, 4, 4)
    np.testing.assert_array_equal(patches[0], [[0, 0, 1, 2], [0, 0, 1, 2], [4, 4, 5, 6], [8, 8, 9, 10]])
    np.testing.assert_array_equal(patches[3], [[5, 6, 7, 7], [9, 10, 11, 11], [13, 14, 15, 15], [13, 14, 15, 15]])
    np.testing.assert_array_equal(join_patches(patches[..., None], 2, 2, 1), x)


@pytest.mark.parametrize(("patch", "context"), [(2, 0), (4, 3), (4, 4)])
def test_patches_come_back(patch, context):
    x = np.random.default_rng(0).normal(size=(3, 8, 12, 2)).astype("float32")
    padded = np.pad(x, ((0, 0), (context, context), (context, context), (0, 0)), mode="edge")
    patches = ops.convert_to_numpy(split_patches(x, patch, context))
    side = patch + 2 * context
    np.testing.assert_array_equal(patches[1], padded[0, :side, patch : patch + side])
    np.testing.assert_array_equal(join_patches(patches, 8 // patch, 12 // patch, context), x)


def test_a_patch_sees_its_context_and_no_farther():
    inputs = keras.Input((8, 8, 1))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    layer = PatchWise(keras.Model(inputs, keras.layers.UpSampling2D(8)(mean)), patch=4, context=2)
    x = np.zeros((1, 12, 12, 1), "float32")
    x[0, 5, 5] = 64  # one pixel into the middle patch: the four patches around the corner (4, 4) have it in sight
    seen = ops.convert_to_numpy(layer(x))[0, ::4, ::4, 0]
    np.testing.assert_allclose(seen, [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def test_attention_is_keras_own_where_nothing_is_reduced():
    layer = EfficientAttention(heads=2)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 6)).astype("float32")
    found = ops.convert_to_numpy(layer(x))
    rows = x.reshape(2, 12, 6)
    query = np.asarray(ops.convert_to_numpy(layer.query(x))).reshape(2, 12, 6)
    key, value = np.split(np.asarray(ops.convert_to_numpy(layer.key_value(x))).reshape(2, 12, 12), 2, axis=-1)
    heads = []
    for h in (slice(0, 3), slice(3, 6)):
        scores = np.exp(query[..., h] @ key[..., h].transpose(0, 2, 1) / np.sqrt(3))
        heads.append(scores / scores.sum(-1, keepdims=True) @ value[..., h])
    kernel, bias = layer.projection.get_weights()
    np.testing.assert_allclose(found.reshape(rows.shape), np.concatenate(heads, -1) @ kernel + bias, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EfficientAttention(heads=4).build((None, 4, 4, 6)), "divisor of the channels"),
        (lambda: EfficientAttention(reduction=3).build((None, 4, 4, 6)), "divisor of a known height"),
        (lambda: EfficientAttention(heads=0), "heads"),
        (lambda: PatchWise(None, patch=4, context=5), "context"),
        (lambda: models.Patcher(**{**PATCHER, "input_shape": (12, 8, 3)}), r"multiples of each of \[4, 8\]"),
        (lambda: models.Patcher(**{**PATCHER, "input_shape": (None, None, 3)}), "input_shape"),
        (lambda: models.Patcher(**PATCHER, decoder="mean"), "decoder"),
        (lambda: models.Patcher(**{**PATCHER, "size": "huge"}), "size"),
        (lambda: models.Patcher(**{**PATCHER, "size": {"depths": (1,)}}), "one number per scale"),
        (lambda: models.Patcher(**PATCHER, include_top=False), "include_top"),
        (lambda: models.UNet((12, 8, 3), filters=(4, 6, 8, 10)), "multiples of 8"),
        (lambda: models.Patcher((8, 12, 3), backbone="resnet8"), r"multiples of each of \[8\]"),
        (lambda: models.Patcher((8, 8, 3), backbone="vgg"), "backbone='vgg'"),
        (lambda: models.Patcher((32, 32, 3), "small", backbone="resnet8"), "decoder_filters alone"),
        (lambda: models.Patcher((32, 32, 3), {"depths": (1,) * 4}, backbone="resnet8"), "decoder_filters alone"),
        (lambda: models.Patcher((8, 8, 3), TWO_SCALES, weights="imagenet"), "weights='imagenet'"),
        (lambda: models.UNet((32, 32, 3), (4, 6), backbone="efficientnet_lite0"), "3 ints for 'efficientnet_lite0'"),
        (lambda: models.UNet((48, 32, 3), (4, 6, 8), backbone="efficientnet_lite0"), "multiples of 32"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_gate_weighs_scales_per_pixel():
    model = models.Patcher(**PATCHER)
    route = model.route(np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)))
    assert route.shape == (2, 4, 4, 2)
    np.testing.assert_allclose(route.sum(-1), 1, atol=1e-5)
    with pytest.raises(ValueError, match="no gate"):
        models.Patcher(**PATCHER, decoder="sum").route(np.zeros((1, 8, 8, 3)))


@pytest.mark.once
def test_the_scales_are_the_backbones_own_maps():
    classifier = models.Classifier((64, 32, 3), backbone="efficientnet_lite0", classes=4)
    trained = dense_values(classifier.layers)
    patcher = models.Patcher((64, 32, 3), backbone="efficientnet_lite0", classes=3)
    unet = models.UNet((64, 32, 3), (4, 6, 8), backbone="efficientnet_lite0", classes=3)
    trunk, spec = classifier.get_layer("backbone"), backbones.get("efficientnet_lite0")
    ends = [trunk.get_layer(backbones.last_layer(spec, stage)).output for stage in (1, 2, 4, 6)]
    images = np.random.default_rng(0).uniform(-1, 1, (2, 64, 32, 3)).astype("float32")
    wanted = keras.Model(trunk.input, ends).predict(images, verbose=0)
    assert [map.shape[1:] for map in wanted] == [(16, 8, 24), (8, 4, 40), (4, 2, 112), (2, 1, 320)]
    for model in (patcher, unet):
        assign_dense(model, trained, "the classifier")
        maps = model.get_layer("encoder").predict(images, verbose=0)
        for mine, theirs in zip(maps, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)
        assert model.predict(images, verbose=0).shape == (2, 64, 32, 3)
    assert patcher.route(images).shape == (2, 16, 8, 4)


def test_structure_loss_by_hand():
    loss = StructureLoss()
    even = np.zeros((1, 2, 2, 2), "float32")  # p = 0.5 everywhere
    full = np.ones((1, 2, 2), "int32")  # no edge: all weights 1, CE ln 2, IoU (4 * 0.5 + 1) / (4 * 1.5 - 2 + 1)
    assert float(loss(full, even)) == pytest.approx(np.log(2) + 1 - 3 / 5, abs=1e-5)
    half = np.array([[[1, 0]]])  # the mean is 0.5: both weigh 3.5
    assert float(loss(half, even[:, :1])) == pytest.approx(np.log(2) + 1 - 2.75 / 6.25, abs=1e-5)
    ignored = np.array([[[1, 255]]])
    assert float(loss(ignored, even[:, :1])) == pytest.approx(float(loss(half, even[:, :1])))
    sure = np.array([[[[0, 50.0], [50.0, 0]]]], "float32")
    assert float(loss(half, sure)) == pytest.approx(0, abs=1e-5)
    with pytest.raises(ValueError, match=r"2 classes\. Received: 3"):
        loss(half, np.zeros((1, 1, 2, 3), "float32"))
    both = loss(np.concatenate([half, half]), np.concatenate([even[:, :1], sure]))
    assert float(both) == pytest.approx(float(loss(half, even[:, :1])) / 2, abs=1e-5)


def test_dice_by_hand():
    masks = np.array([[[1, 1], [0, 0]], [[0, 0], [0, 0]]])
    guess = np.array([[[1, 0], [1, 0]], [[0, 0], [0, 0]]])
    assert metrics.dice(masks, guess) == pytest.approx((0.5 + 1) / 2, abs=1e-4)
    assert metrics.dice(masks, masks) == 1
    with pytest.raises(ValueError, match="Expected masks"):
        metrics.dice(masks, guess[0])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="81 million numbers: one backend is enough")
def test_paper_size():
    model = models.Patcher(size="paper")
    assert model.count_params() == pytest.approx(81.5e6, rel=0.002)
    assert model.get_layer("encoder").count_params() == pytest.approx(78.5e6, rel=0.005)


def test_macs_charge_the_overlap():
    model = models.Patcher(**PATCHER)
    # Block 0: 4 patches of 8x8 pixels, of which 4x4 are new; 16 tokens each, keys and values of 4.
    embedding = 4 * 16 * (2 * 2 * 3 * 4)
    attention = 4 * (16 * 4 * 4 * 2 + 4 * (4 * 8 + 2 * 2 * 4 * 4) + 2 * 16 * 4 * 4)
    mlp = 4 * 16 * (4 * 4 + 9 * 4 + 4 * 4)
    block = model.get_layer("encoder").get_layer("block_0")
    assert cost.macs(block, (None, 8, 8, 3)) == embedding + attention + mlp


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="building them is slow, and the same on every backend")
def test_the_baseline_costs_the_same():
    patcher, unet = models.Patcher(), models.UNet(filters=(5, 10, 21, 42, 84))
    assert unet.macs_total == pytest.approx(patcher.macs_total, rel=0.05)
    lite = {"backbone": "efficientnet_lite0"}
    patcher, unet = models.Patcher(**lite), models.UNet(filters=(24, 32, 64), **lite)
    assert unet.macs_total == pytest.approx(patcher.macs_total, rel=0.01)
