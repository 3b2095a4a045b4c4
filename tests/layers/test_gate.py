"""The gate, by hand: softmax over the chosen logits, exact zeros elsewhere."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_moe.layers import TopKGate

LOGITS = np.log([[8.0, 4.0, 2.0, 1.0], [1.0, 1.0, 1.0, 6.0]]).astype("float32")


def gate(logits=LOGITS, training=False, **kwargs):
    return ops.convert_to_numpy(TopKGate(**kwargs)(ops.convert_to_tensor(logits), training=training))


@pytest.mark.parametrize(
    ("top_k", "expected"),
    [
        (1, [[1, 0, 0, 0], [0, 0, 0, 1]]),
        (2, [[8 / 12, 4 / 12, 0, 0], [1 / 7, 0, 0, 6 / 7]]),  # equal logits: the lowest index
        (3, [[8 / 14, 4 / 14, 2 / 14, 0], [1 / 8, 1 / 8, 0, 6 / 8]]),
        (4, [[8 / 15, 4 / 15, 2 / 15, 1 / 15], [1 / 9, 1 / 9, 1 / 9, 6 / 9]]),
    ],
)
def test_top_k(top_k, expected):
    weights = gate(top_k=top_k)
    np.testing.assert_allclose(weights, expected, atol=1e-6)
    assert ((weights != 0) == (np.array(expected) != 0)).all()


def test_temperature():
    # temperature 2 takes the square root of every odds ratio: 8 : 2 becomes sqrt(8) : 2 for k = 2
    np.testing.assert_allclose(
        gate(top_k=2, temperature=2.0)[0, :2], np.sqrt([8, 4]) / np.sqrt([8, 4]).sum(), atol=1e-6
    )


@pytest.mark.parametrize(
    ("drop_below", "expected"),
    [(0.0, [8 / 14, 4 / 14, 2 / 14, 0]), (0.2, [8 / 12, 4 / 12, 0, 0]), (0.5, [1, 0, 0, 0]), (1.0, [1, 0, 0, 0])],
)
def test_dynamic_k(drop_below, expected):
    np.testing.assert_allclose(gate(top_k=3, drop_below=drop_below)[0], expected, atol=1e-6)


def test_dynamic_k_holds_in_training_and_can_be_set_later():
    layer = TopKGate(top_k=3, drop_below=0.5)
    logits = ops.convert_to_tensor(LOGITS)
    assert (ops.convert_to_numpy(layer(logits, training=True))[0] > 0).sum() == 1
    assert (ops.convert_to_numpy(layer(logits))[0] > 0).sum() == 1
    layer.drop_below = 0.0
    assert (ops.convert_to_numpy(layer(logits))[0] > 0).sum() == 3


def test_dynamic_k_drops_nothing_from_soft_training():
    assert (gate(top_k=1, train_top_k=4, drop_below=1.0, training=True) > 0).all()


def test_soft_training():
    assert (gate(top_k=1, train_top_k=4, training=True) > 0).all()


def test_noise_only_in_training():
    np.testing.assert_array_equal(gate(top_k=2, noise_std=5.0), gate(top_k=2))
    layer = TopKGate(top_k=4, noise_std=5.0, seed=1)
    first, second = (ops.convert_to_numpy(layer(ops.convert_to_tensor(LOGITS), training=True)) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("training", [False, True])
def test_a_broken_row_is_never_a_route(bad, training):
    logits = LOGITS.copy()
    logits[0, 2] = bad
    weights = gate(logits, top_k=2, training=training)
    assert np.isnan(weights[0]).all()
    np.testing.assert_allclose(weights[1], [1 / 7, 0, 0, 6 / 7], atol=1e-6)


def test_extreme_logits_stay_finite():
    np.testing.assert_allclose(gate(np.array([[3e38, 0.0, -3e38]], "float32"), top_k=3), [[1, 0, 0]], atol=1e-6)


def test_per_pixel():
    logits = np.random.default_rng(0).normal(size=(2, 3, 3, 5)).astype("float32")
    weights = gate(logits, top_k=2)
    assert weights.shape == (2, 3, 3, 5)
    assert ((weights > 0).sum(-1) == 2).all()
    np.testing.assert_array_equal(weights.argmax(-1), logits.argmax(-1))


def test_empty_batch():
    assert gate(np.zeros((0, 4), "float32"), top_k=2).shape == (0, 4)


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_low_precision(policy):
    layer = TopKGate(top_k=2, dtype=policy)
    weights = layer(ops.convert_to_tensor(LOGITS))
    assert keras.backend.standardize_dtype(weights.dtype) == policy
    np.testing.assert_allclose(ops.convert_to_numpy(ops.cast(weights, "float32"))[0], [2 / 3, 1 / 3, 0, 0], rtol=0.01)


@pytest.mark.parametrize(
    "wrong",
    [{"top_k": 0}, {"top_k": 1.5}, {"train_top_k": 0}, {"temperature": 0}, {"noise_std": -1}, {"drop_below": 1.5}],
)
def test_wrong_arguments(wrong):
    with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
        TopKGate(**wrong)


def test_more_than_there_are():
    with pytest.raises(ValueError, match="at most the number of experts, 4"):
        gate(top_k=5)
