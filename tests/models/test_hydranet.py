"""HydraNet and its base: parts, route, cost, growth, and what they refuse."""

import keras
import numpy as np
import pytest
from descriptors import HYDRA, TINY

from keras_moe import cost
from keras_moe.layers.inference import is_inference_only
from keras_moe.models import Classifier, HydraNet
from keras_moe.models.base import RoutedModel

X = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def hydra():
    """For tests that leave it as it is."""
    return HydraNet(**HYDRA)


def test_parts_cover_every_weight_once(hydra):
    owned = [id(w) for layers in hydra.parts.values() for layer in layers for w in layer.weights]
    assert sorted(owned) == sorted(id(w) for w in hydra.weights)
    assert list(hydra.parts) == ["stem", "gate", "branches", "combiner"]


def test_route(hydra):
    route = hydra.route(X)
    assert route.shape == (20, 3)
    assert route.dtype == np.float32
    assert ((route > 0).sum(1) == 2).all()
    np.testing.assert_allclose(route.sum(1), 1, atol=1e-6)
    assert hydra.route(X[:0]).shape == (0, 3)
    for ask in (hydra.predict, hydra.predict_routed):
        with pytest.raises(ValueError, match="at least one image"):
            ask(X[:0])
    predictions, same = hydra.predict_routed(X)
    np.testing.assert_allclose(same, route, atol=1e-6)
    np.testing.assert_allclose(predictions, hydra.predict(X, verbose=0), atol=1e-6)


def test_a_broken_image_is_seen(hydra):
    x = X.copy()
    x[3, 0, 0, 0] = np.nan
    predictions, route = hydra.predict_routed(x)
    assert np.isnan(route[3]).all()
    assert np.isnan(predictions[3]).all()
    assert np.isfinite(np.delete(predictions, 3, 0)).all()


def test_macs_by_hand(hydra):
    # alpha 0.5: 8, 8, 16 and 32 channels; the stem is the first convolution and two stages on 8x8 and 4x4 pixels.
    parts = hydra.macs_by_part()
    stem = 64 * 9 * 3 * 8 + 64 * 9 * 8 * 8 * 2 + 16 * (9 * 8 * 16 + 9 * 16 * 16 + 8 * 16)
    branch = 4 * (9 * 16 * 32 + 9 * 32 * 32 + 16 * 32)
    gate = 4 * 9 * 16 * 8 + 8 * 3
    assert parts == {"stem": stem, "gate": gate, "branches": [branch] * 3, "combiner": 32 * 5}


def test_macs_of_a_route(hydra):
    parts = hydra.macs_by_part()
    always = parts["stem"] + parts["gate"] + parts["combiner"]
    assert hydra.mean_macs(images=X) == always + 2 * parts["branches"][0]
    assert hydra.mean_macs(route=np.array([[0, 0, 0], [1, 0, 0]])) == always + parts["branches"][0] / 2
    assert hydra.macs_total == always + sum(parts["branches"])
    dense = Classifier(**TINY)
    assert dense.mean_macs(images=X) == dense.macs_total == sum(dense.macs_by_part().values())


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's counter")
@pytest.mark.parametrize("drop_below", [0.0, 0.45, 1.0])
@pytest.mark.parametrize("backbone", ["resnet8", "litenet"])
def test_macs_really_executed_by_torchs_counter(drop_below, backbone):
    """PyTorch counts what its kernels are asked to do; it agrees to the last multiply-accumulate."""
    from torch.utils.flop_counter import FlopCounterMode

    model = HydraNet(**{**HYDRA, "backbone": backbone}, drop_below=drop_below)
    counter = FlopCounterMode(display=False)
    with counter:
        model(X)
    assert counter.get_total_flops() == 2 * len(X) * model.mean_macs(images=X)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX's cost analysis")
@pytest.mark.parametrize("backbone", ["resnet8", "litenet"])
def test_macs_of_a_dense_network_by_jaxs_cost_analysis(backbone):
    """XLA's estimate counts element-wise work too, and leaves out products with padding: within a few percent."""
    import jax

    model = Classifier(**{**TINY, "backbone": backbone, "input_shape": (32, 32, 3), "alpha": 1.0})
    x = np.zeros((4, 32, 32, 3), "float32")
    analysis = jax.jit(lambda x: model(x)).lower(x).compile().cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    assert analysis["flops"] / (2 * 4 * model.macs_total) == pytest.approx(1, abs=0.15)


def test_cost_refuses_what_it_cannot_know():
    with pytest.raises(ValueError, match="every size but the batch must be known"):
        HydraNet(**{**HYDRA, "input_shape": (None, None, 3)}).macs_by_part()
    x = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match="no rule for Conv"):
        cost.macs(keras.Model(x, keras.ops.conv(x, np.ones((3, 3, 3, 5)))), (None, 8, 8, 3))
    lstm = keras.layers.LSTM(4)
    lstm.build((None, 3, 2))
    with pytest.raises(ValueError, match="no rule for LSTM"):
        cost.macs(lstm, (None, 3, 2))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: keras.layers.Dense(7), (None, 5), 35),
        (lambda: keras.layers.Dense(7), (None, 4, 5), 140),
        (lambda: keras.layers.Conv2D(8, 3, groups=2, padding="same"), (None, 4, 4, 6), 16 * 9 * 3 * 8),
        (lambda: keras.layers.DepthwiseConv2D(3, 2, padding="same"), (None, 4, 4, 6), 4 * 9 * 6),
        (lambda: keras.layers.SeparableConv2D(8, 3, padding="same"), (None, 4, 4, 6), 16 * (9 * 6 + 6 * 8)),
        (lambda: keras.layers.Conv2DTranspose(8, 3, 2), (None, 4, 4, 6), 16 * 9 * 6 * 8),
        (lambda: keras.layers.Conv1D(8, 3), (None, 6, 2), 4 * 3 * 2 * 8),
        (lambda: keras.layers.BatchNormalization(), (None, 4, 4, 6), 0),
        (lambda: keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(2)]), (None, 5), 21),
    ],
)
def test_cost_by_hand(layer, shape, expected):
    layer = layer()
    layer.build(shape)
    assert cost.macs(layer, shape) == expected


def test_grows_from_one_branch():
    single = HydraNet(**{**HYDRA, "num_experts": 1, "top_k": 1, "gate_filters": 0})
    grown = HydraNet(**HYDRA)
    grown.init_from_single_branch(single)
    np.testing.assert_allclose(grown.predict(X, verbose=0), single.predict(X, verbose=0), atol=1e-5)
    with pytest.raises(ValueError, match=r"one branch\. Received: 3"):
        grown.init_from_single_branch(grown)


def test_dynamic_k_after_training(hydra):
    hydra.drop_below = 1.0
    assert ((hydra.route(X) > 0).sum(1) == 1).all()
    hydra.drop_below = 0.0
    assert ((hydra.route(X) > 0).sum(1) == 2).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_experts": 0}, "`num_experts` must be an int >= 1"),
        ({"top_k": 4}, "`top_k` must be between 1 and `num_experts`"),
        ({"split_at": 3}, "`split_at` must be in 0…2"),
        ({"combine": "votes"}, "'features' or 'logits'"),
        ({"alpha": 0}, "`alpha` must be a float > 0"),
        ({"backbone": "resnet9"}, "`backbone` must be"),
        ({"pooling": "sum", "include_top": False}, "`pooling` must be"),
        ({"noise_std": -1}, "`noise_std` must be"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        HydraNet(**{**HYDRA, **wrong})


def test_a_dense_network_has_no_route():
    with pytest.raises(ValueError, match="no gate and no route"):
        Classifier(**TINY).route(X)


def test_predict_and_evaluate_promise_that_no_gradient_is_wanted():
    seen = []

    class Asks(keras.layers.Layer):
        def call(self, x):
            seen.append(is_inference_only())
            return x

    inputs = keras.Input((3,))
    model = RoutedModel(inputs, keras.layers.Dense(1)(Asks()(inputs)))
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), "float32"), np.ones((4, 1), "float32")
    promised = {}
    for name, run in {
        "predict": lambda: model.predict(x, verbose=0),
        "evaluate": lambda: model.evaluate(x, y, verbose=0),
        "fit": lambda: model.fit(x, y, verbose=0),
        "call": lambda: model(x),
    }.items():
        seen.clear()
        run()
        promised[name] = seen[-1]
    assert promised == {"predict": True, "evaluate": True, "fit": False, "call": False}
