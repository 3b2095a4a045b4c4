"""Segmenter, SegmentationMoE, batches of masks, the training of both, and what they refuse."""

import io

import keras
import numpy as np
import pytest
from descriptors import run as run_layer
from descriptors import tiny_segmenter

from keras_moe import cost
from keras_moe.datasets import camvid
from keras_moe.layers import WeightedSum
from keras_moe.models import MoEModel, SegmentationMoE, Segmenter, segmenters
from keras_moe.training import (
    MaskBatches,
    MaskViews,
    Recipe,
    check_masks,
    segmentation_stage,
    train_domain_experts,
    train_segmentation,
)

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (12, 8, 8, 3)).astype("uint8")
MASKS = RNG.integers(0, 5, (12, 8, 8)).astype("uint8")
MASKS[:, 0] = 255
DOMAINS = np.arange(12) % 2
NAMED = {"input_shape": (8, 8, 3), "alpha": 0.1, "backbone": "resnet8", "classes": 5}
RECIPE = Recipe(1, batch_size=4, learning_rate=1e-2)


def moe(**options):
    return SegmentationMoE.from_network(tiny_segmenter(), classifier_activation=None, **options)


def build():
    network = tiny_segmenter()
    return MoEModel(network.input, network.output, parts={"all": ["deep", "deep_bn", "predictions"]})


def run(model, images=X):
    """The model's prediction without ``predict``, whose compiling takes longer than these tiny networks."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, run_layer(model, images.astype("float32")))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([[0.25, 0.75]], [[[3.25, 4.25], [5.5, 6.5]]]),
        ([[[1, 0], [0, 1]]], [[[1, 5], [2, 8]]]),
        ([[[[1, 0], [0, 1]]]], [[[1, 2], [7, 8]]]),
    ],
    ids=["image", "class", "pixel"],
)
def test_weighted_sum_by_hand(weights, expected):
    logits = np.array([[[[1, 2, 4, 5], [2, 3, 7, 8]]]], "float32")  # two experts, two classes, 1x2 pixels
    expected = np.array(expected, "float32")
    if np.ndim(weights) == 2:
        expected = np.array([[[0.25 * 1 + 0.75 * 4, 0.25 * 2 + 0.75 * 5], [0.25 * 2 + 0.75 * 7, 0.25 * 3 + 0.75 * 8]]])
    y = WeightedSum(2)(logits, np.array(weights, "float32"))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y)[0], expected)


def test_weighted_sum_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"expected routing_weights \(n, 2\), \(n, 3, 2\) or \(n, 4, 4, 2\)"):
        WeightedSum(2)(np.zeros((1, 4, 4, 6)), np.zeros((1, 5, 2)))


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="the same graph, but JAX draws 17.7 M weights slowly")
def test_frrn_a_is_that_of_the_facts():
    # 5x5 convolution to 48, FRRUs of 96, 192, 384 and 384 channels down, 192, 192 and 96 up, a residual stream of 32.
    network = segmenters.build("frrn_a", (32, 48, 3), 1.0, 38, True, "network")
    assert network.output_shape == [(None, 2, 3, 384), (None, 32, 48, 38)]
    assert network.count_params() == 17_728_566
    assert run(network, np.zeros((1, 32, 48, 3)))[1].shape == (1, 32, 48, 38)


@pytest.mark.parametrize(
    "options", [{"gate_kind": "class", "conv": True}, {"gate_kind": "pixel"}, {"sparse": True}], ids=str
)
def test_equal_experts_answer_as_one(options):
    """Weights sum to one and the convolution starts as identity: experts that agree are the prediction."""
    network, model = tiny_segmenter(), moe(**options)
    model.init_from_networks([network, network])
    np.testing.assert_allclose(run(model), run(network), atol=1e-4)
    shape = {"class": (12, 5, 2), "pixel": (12, 2, 2, 2)}.get(options.get("gate_kind"), (12, 2))
    assert model.route(X).shape == shape
    said = run(model.expert_outputs())
    assert said["experts"].shape == (12, 2, 8, 8, 5)
    for how, expected in (("mean", said["experts"].mean(1)), ("max", said["experts"].max(1))):
        np.testing.assert_allclose(run(model.ensemble(how)), expected, atol=1e-5)


def test_named_backbone():
    dense = Segmenter(**NAMED)
    model = SegmentationMoE(**NAMED)
    model.init_from_networks([dense, dense])
    expected = run(dense)
    np.testing.assert_allclose(run(model), expected, atol=1e-5)
    np.testing.assert_allclose(expected.sum(-1), 1, atol=1e-5)
    again = Segmenter.from_config(dense.get_config())
    again.set_weights(dense.get_weights())
    np.testing.assert_array_equal(run(again), expected)
    assert dense.macs_total < model.macs_total / 2


def test_sparse_runs_one_expert_or_both():
    model = moe(sparse=True, drop_below=1.0)
    model.init_from_networks([tiny_segmenter(), tiny_segmenter()])
    parts = model.macs_by_part()
    always = parts["gate"]
    route = model.route(X)
    np.testing.assert_array_equal((route != 0).sum(1), 1)
    assert model.mean_macs(images=X) == always + parts["experts"][0]
    said = run(model.expert_outputs())["experts"]
    np.testing.assert_allclose(run(model), said[np.arange(12), route.argmax(1)], atol=1e-4)
    model.drop_below = 0.0
    assert model.mean_macs(images=X) == model.macs_total == always + sum(parts["experts"])
    assert SegmentationMoE.from_config(model.get_config()).drop_below == 0.0
    with pytest.raises(ValueError, match="drop_below"):
        moe().drop_below = 0.5


def test_own_network():
    x = inputs = keras.Input((8, 12, 3))
    x = keras.layers.Conv2D(4, 3, 4, "same", name="deep")(x)
    x = keras.layers.UpSampling2D(4, name="up")(x)
    own = keras.Model(inputs, keras.layers.Conv2D(6, 1, activation="softmax")(x))
    model = SegmentationMoE.from_network(own, gate_kind="pixel", classifier_activation="softmax")
    assert model.gate["gate_logits"].shape == (None, 2, 3, 2)
    images = X[:3, :, [*range(8), *range(4)]]
    np.testing.assert_allclose(run(model, images), run(own, images), atol=1e-5)
    named = SegmentationMoE.from_config(SegmentationMoE.from_network(own, features="up").get_config())
    assert named.get_layer("features").output.shape == (None, 8, 12, 8)
    with pytest.raises(ValueError, match="nearest names"):
        SegmentationMoE.from_network(own, features="depe")
    flat = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
    with pytest.raises(ValueError, match=r"logits \(n, h, w, classes\)"):
        SegmentationMoE.from_network(flat)
    any_size = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="known input sizes"):
        SegmentationMoE.from_network(keras.Model(any_size, keras.layers.Conv2D(6, 1)(any_size)))
    with pytest.raises(ValueError, match=r"images \(8, 12\). Received: \(2, 3\)"):
        SegmentationMoE.from_network(keras.Model(inputs, keras.layers.Conv2D(6, 4, 4)(inputs)))
    x = keras.layers.Conv2D(4, 3, (3, 4), "same")(inputs)  # 3x3: the height does not divide
    uneven = keras.Model(inputs, keras.layers.Conv2D(6, 1)(keras.layers.Resizing(8, 12)(x)))
    with pytest.raises(ValueError, match=r"features, \(3, 3\). Received: \(8, 12\)"):
        SegmentationMoE.from_network(uneven, gate_kind="pixel")


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="building it is slow, and the same on every backend")
def test_a_backbone_of_keras_applications():
    body = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    low, deep = (body.get_layer(name).output for name in ("block_1_expand_relu", "block_3_expand_relu"))
    x = keras.layers.Concatenate()([keras.layers.UpSampling2D(2)(deep), low])
    x = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(5, 1)(x))
    network = keras.Model(body.input, x)
    model = SegmentationMoE.from_network(network, gate_kind="class", conv=True, classifier_activation=None)
    model.init_from_networks([network, network])
    images = X[:2].repeat(4, 1).repeat(4, 2) / 127.5 - 1
    np.testing.assert_allclose(run(model, images), run(network, images), atol=1e-4)
    assert model.get_layer("features").output.shape == (None, 8, 8, 2 * deep.shape[-1])
    assert model.macs_by_part()["experts"] == 2 * cost.macs(network, (None, 32, 32, 3))


def _other_scaling():
    network = tiny_segmenter()
    network.get_layer("scaling").scale = 1.0
    return network


@pytest.mark.parametrize(
    ("others", "match"),
    [
        (lambda: [tiny_segmenter()], "2 networks"),
        (lambda: [tiny_segmenter(), tiny_segmenter(classes=6)], "5 classes. Received: 6 of network 1"),
        (lambda: [tiny_segmenter(), tiny_segmenter(filters=8)], "Network 1 has other layers"),
        (lambda: [_other_scaling(), tiny_segmenter()], "used in another way"),
    ],
)
def test_experts_that_do_not_go_together(others, match):
    model = moe()
    before = model.get_weights()
    with pytest.raises(ValueError, match=match):
        model.init_from_networks(others())
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "options",
    [{"num_experts": 1}, {"gate_kind": "row"}, {"gate_kind": "pixel", "sparse": True}, {"include_top": False},
     {"drop_below": 2}, {"input_shape": (8, 12, 3)}, {"input_shape": (None, None, 3)}, {"classes": 1},
     {"backbone": "unet"}],
    ids=str,
)  # fmt: skip
def test_bad_arguments(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SegmentationMoE(**{**NAMED, "sparse": "drop_below" in options, **options})


@pytest.mark.once
def test_mask_batches_move_image_and_mask_together():
    masks = RNG.integers(0, 3, (6, 10, 14)).astype("uint8").repeat(4, 1).repeat(4, 2)
    images = np.repeat(masks[..., None] * 100, 3, -1)
    data = MaskBatches(images, {"prediction": masks, "gate_logits": np.arange(6)}, 3, views=MaskViews(zoom=2.0))
    x, targets = data[1]
    assert (x.shape, x.dtype) == ((3, 40, 56, 3), np.float32)
    assert targets["prediction"].dtype == np.int32
    assert set(np.unique(targets["prediction"])) <= {0, 1, 2}
    off = np.abs(x[..., 0] - 100 * targets["prediction"])
    assert np.median(off) == 0  # they differ only where the image is blended between two patches
    np.testing.assert_array_equal(data[1][0], x)
    data.on_epoch_end()
    assert not np.array_equal(data[1][0], x)
    plain = MaskBatches(X, MASKS, 4, augment=False)
    rows = plain._permutation()[:4]
    np.testing.assert_array_equal(plain[0][0], X[rows])
    np.testing.assert_array_equal(plain[0][1], MASKS[rows])


@pytest.mark.once
@pytest.mark.parametrize(
    ("masks", "match"),
    [
        (MASKS[:, :4], "one mask"),
        (MASKS.astype("float32"), "integers"),
        (np.full_like(MASKS, 255), "nothing to learn"),
        (np.where(np.arange(12)[:, None, None] == 7, 9, MASKS), r"Received: \[9\], the first in mask 7"),
    ],
)
def test_bad_masks_stop_before_training(masks, match):
    with pytest.raises(ValueError, match=match):
        check_masks(X, masks, 5)
    with pytest.raises(ValueError, match=match):
        segmentation_stage(build(), RECIPE, (X, masks))


@pytest.mark.once
@pytest.mark.parametrize(
    ("images", "masks", "match"),
    [
        (X.repeat(2, 1), MASKS.repeat(2, 1), r"images of shape \(8, 8, 3\).* Received: \(16, 8, 3\)"),
        (X[..., :1], MASKS, r"Received: \(8, 8, 1\)"),
        (X / 255, MASKS, "uint8 images"),
    ],
)
def test_bad_images_stop_before_training(images, masks, match):
    with pytest.raises(ValueError, match=match):
        segmentation_stage(build(), RECIPE, (images, masks))


@pytest.mark.once
def test_a_domain_without_labels_is_named(tmp_path):
    masks = np.where(DOMAINS[:, None, None] == 1, 255, MASKS).astype("uint8")
    with pytest.raises(ValueError, match="Domain 1: Every pixel has the ignore label"):
        train_domain_experts(build, (X, masks), DOMAINS, tmp_path, RECIPE)
    assert not list(tmp_path.iterdir())


@pytest.mark.once
@pytest.mark.parametrize("domains", [DOMAINS[:5], DOMAINS * 0, DOMAINS + 1, DOMAINS * 1.0])
def test_bad_domains_stop_before_training(domains, tmp_path):
    with pytest.raises(ValueError, match="domain"):
        train_domain_experts(build, (X, MASKS), domains, tmp_path, RECIPE)
    assert not list(tmp_path.iterdir())


@pytest.mark.once
def test_a_gate_per_pixel_has_no_domains():
    with pytest.raises(ValueError, match="gate per image"):
        segmentation_stage(moe(gate_kind="pixel"), RECIPE, (X, MASKS), DOMAINS)


@pytest.mark.once
def test_experts_then_gate_with_experts_bit_equal(tmp_path):
    experts, history = train_domain_experts(build, (X, MASKS), DOMAINS, tmp_path, RECIPE)
    assert [len(history[f"expert_{k}"]) for k in (0, 1)] == [2, 2]  # half of the images each: twice the epochs
    model = moe(gate_kind="class", conv=True)
    before = [w.copy() for w in model.get_layer("gate").get_weights()]
    history = train_segmentation(model, experts, (X, MASKS), tmp_path / "gate", RECIPE)
    assert np.isfinite(history["gate"][-1]["loss"])
    for k, expert in enumerate(experts):
        for trained, kept in zip(expert.get_weights(), model.experts[k].get_weights(), strict=True):
            np.testing.assert_array_equal(trained, kept)
    assert not np.array_equal(before[0], model.get_layer("gate").get_weights()[0])
    again = moe(gate_kind="class", conv=True)
    train_segmentation(again, experts, (X, MASKS), tmp_path / "gate", RECIPE)
    np.testing.assert_array_equal(run(again), run(model))


@pytest.mark.once
def test_the_sparse_gate_learns_the_domain(tmp_path):
    dark = np.where(DOMAINS[:, None, None, None] == 0, X // 4, 255 - X // 4).astype("uint8")
    model = moe(sparse=True)
    recipe = Recipe(8, batch_size=6, learning_rate=3e-2, augment=False)
    train_segmentation(model, [tiny_segmenter(), tiny_segmenter()], (dark, MASKS), tmp_path, recipe, DOMAINS)
    np.testing.assert_array_equal(model.route(dark).argmax(1), DOMAINS)


@pytest.mark.once
def test_camvid_as_it_is_packed(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MOE_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="KERAS_MOE_DATA"):
        camvid("val")
    with pytest.raises(ValueError, match="split"):
        camvid("training")
    mask = np.full((36, 48), 11, "uint8")  # unlabelled, but for the right half
    mask[:, 24:] = 3
    packed = {"names": np.array(["0001TP_1", "0006R0_2"])}
    for i in range(2):
        packed |= {f"image_{i:04}": _packed(np.full((36, 48, 3), 60 + i, "uint8")), f"label_{i:04}": _packed(mask)}
    np.savez(tmp_path / "camvid_val.npz", **packed)
    images, masks, domains = camvid("val", (12, 16))
    np.testing.assert_array_equal(images, np.broadcast_to([[[[60]]], [[[61]]]], (2, 12, 16, 3)))
    np.testing.assert_array_equal(masks, np.broadcast_to([255] * 8 + [3] * 8, (2, 12, 16)))
    assert domains.tolist() == [1, 0]


def _packed(array):
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return np.frombuffer(stream.getvalue(), "uint8")
