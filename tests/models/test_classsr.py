"""ClassSR: parameter counts of the paper, its losses by hand, its stages, the knob between cost and quality."""

import keras
import numpy as np
import pytest

from keras_moe import cost
from keras_moe.datasets.patches import bicubic, cut_patches, shrink, split_by_psnr
from keras_moe.layers import CostBias, PixelShuffle
from keras_moe.models import ClassSR, SuperResolutionNetwork, super_resolution_branches
from keras_moe.training import (
    Checkpoint,
    Round,
    SuperResolutionRecipe,
    cost_curve,
    fit_cost_weight,
    train_branch,
    train_classsr,
)
from keras_moe.training import super_resolution_stages as stages
from keras_moe.training.classsr import check_collapse
from keras_moe.training.cost_weight import logits_and_errors
from keras_moe.training.losses import RoutingLoss, average_loss, class_loss
from keras_moe.training.super_resolution_stages import PatchBatches
from keras_moe.weights import read_tensors

RNG = np.random.default_rng(0)
TINY = {"input_shape": (8, 8, 3), "filters": (3, 6), "scale": 2, "class_filters": 4}


def patches(n=8):
    """Smooth patches first, noisy ones after them: ``(low, high)``."""
    noise = RNG.integers(0, 256, (n, 16, 16, 3)) * (np.arange(n) / (n - 1))[:, None, None, None]
    high = (noise * 0.5 + 60).astype("uint8")
    return np.stack([shrink(image, 2)[0] for image in high]), high


@pytest.mark.once
@pytest.mark.parametrize(
    ("backbone", "counts"),
    [
        ("fsrcnn", (10755, 17635, 24515)),
        ("carn", (94827, 195627, 294915)),
        ("srresnet", (481683, 1002771, 1517571)),
        ("rcan", (4940683,)),  # 4.94 M; the other two take as long to build as all the rest
    ],
)
def test_branches_have_the_papers_parameters(backbone, counts):
    widths = super_resolution_branches.WIDTHS[backbone][: len(counts)]
    made = [super_resolution_branches.branch(backbone, width, 4, "b") for width in widths]
    assert tuple(sum(int(np.prod(w.shape)) for w in m.trainable_weights) for m in made) == counts
    y = keras.ops.convert_to_numpy(made[0](RNG.random((1, 4, 5, 3)).astype("float32")))
    assert y.shape == (1, 16, 20, 3)
    assert np.isfinite(y).all()


@pytest.mark.once
def test_class_module_has_the_papers_parameters():
    model = ClassSR()
    assert model.get_layer("class_module").count_params() == 60035
    learned = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert learned == 60035 + 10755 + 17635 + 24515


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("backbone", ["fsrcnn", "carn", "srresnet"])
def test_every_family_enlarges_by_every_scale(backbone, scale):
    made = super_resolution_branches.branch(backbone, 8, scale, "b")
    assert made.compute_output_shape((2, 5, 7, 3)) == (2, 5 * scale, 7 * scale, 3)


def test_fsrcnn_starts_as_linear_interpolation():
    network = super_resolution_branches.branch("fsrcnn", 6, 2, "b")
    super_resolution_branches.start_as_interpolation(network)
    last = network.layers[-1]
    kernel, bias = last.get_weights()
    kernel[..., 3:] = 0  # what is learned comes on top
    last.set_weights([kernel, bias])
    ramp = np.linspace(0.1, 0.9, 12, dtype="float32")
    y = keras.ops.convert_to_numpy(network(np.tile(ramp[None, None, :, None], (1, 12, 1, 3)), training=False))
    step = (ramp[1] - ramp[0]) / 2
    np.testing.assert_allclose(np.diff(y[0, 12, 6:-6, 0]), step, atol=1e-5)


def test_losses_by_hand():
    even = np.full((2, 3), 1 / 3, "float32")
    one = np.array([[1, 0, 0], [1, 0, 0]], "float32")
    mixed = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], "float32")
    # Row sums of |P_i - P_j|: .2 + .3 + .1 = .6 and 0 + .7 + .7 = 1.4. Means of columns: .3, .2, .5.
    for p, decided, balanced in [(even, 2, 0), (one, 0, 1), (mixed, 2 - 1.0, (0.1 / 3 + 0.4 / 3 + 0.5 / 3) * 0.75)]:
        assert float(class_loss(keras.ops.convert_to_tensor(p))) == pytest.approx(decided, abs=1e-5)
        assert float(average_loss(keras.ops.convert_to_tensor(p))) == pytest.approx(balanced, abs=1e-5)
    loss = RoutingLoss(0.5, 3.0)(np.zeros((2, 3), "float32"), np.log(mixed))
    assert float(loss) == pytest.approx(0.5 * 1 + 3 * 0.25, abs=1e-5)


def test_pixel_shuffle_by_hand():
    x = np.arange(16, dtype="float32").reshape(1, 2, 1, 8)  # two pixels of 2 x 2 x 2
    y = keras.ops.convert_to_numpy(PixelShuffle(2)(x))
    np.testing.assert_array_equal(y[0, :, :, 0], [[0, 2], [4, 6], [8, 10], [12, 14]])
    with pytest.raises(ValueError, match="multiple of 4"):
        PixelShuffle(2)(x[..., :3])


def test_cost_bias_by_hand():
    layer = CostBias([0.5, 1.0], 2.0)
    logits = np.array([[1.0, 3.0]], "float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(logits)), [[0.0, 1.0]])
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(logits, training=True)), logits)
    layer.cost_weight = 10
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(logits)), [[-4.0, -7.0]])
    with pytest.raises(ValueError, match="finite"):
        layer.cost_weight = float("nan")


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"scale": 5}, "scale"),
        ({"backbone": "vdsr"}, "backbone"),
        ({"filters": ()}, "filters"),
        ({"filters": (2,)}, "width"),
        ({"backbone": "carn", "filters": (6,)}, "multiple of 4"),
        ({"class_filters": 0}, "class_filters"),
        ({"class_stride": 0}, "class_stride"),
    ],
)
def test_arguments_out_of_range(wrong, match):
    with pytest.raises(ValueError, match=match):
        ClassSR(**{**TINY, **wrong})


def test_training_weighs_every_branch_and_use_runs_one():
    model = ClassSR(**TINY)
    x = RNG.random((3, 8, 8, 3)).astype("float32") * 255
    route = model.route(x)
    np.testing.assert_array_equal(np.sort(route), [[0, 1]] * 3)
    assert model.mean_macs(route=route) < model.macs_total
    parts = model.macs_by_part()
    executed = parts["class_module"] + np.mean([parts["branches"][k] for k in route.argmax(-1)])
    assert model.mean_macs(route=route) == pytest.approx(executed)
    model.cost_weight = 100.0
    assert model.route(x)[:, 0].all()
    assert ClassSR.from_config(model.get_config()).cost_weight == 100.0


def test_macs_by_hand_beside_the_papers_convention():
    network = SuperResolutionNetwork((4, 4, 3), "fsrcnn", 3, 2)
    pixels, taps = 16, 5 * 5 * 3 * 3 + 3 * 12 + 4 * 9 * 12 * 12 + 12 * 3
    deconvolution = 81 * 3 * 3
    assert network.macs_total == pixels * (taps + deconvolution)
    flops = cost.flops_as_classsr(network.get_layer("branch"), (None, 4, 4, 3))
    assert flops == 2 * pixels * (taps + 4 * deconvolution)


@pytest.mark.once
def test_terciles_follow_the_difficulty():
    low, high = patches(9)
    order = RNG.permutation(9)
    np.testing.assert_array_equal(split_by_psnr(low[order], high[order]), order // 3)


@pytest.mark.once
def test_cut_patches():
    image = RNG.integers(0, 256, (33, 50, 3)).astype("uint8")
    low, high = cut_patches([image], 2, patch=8, stride=4)
    assert low.shape == (3 * 5, 8, 8, 3)
    assert high.shape == (3 * 5, 16, 16, 3)
    np.testing.assert_array_equal(high[6], image[8:24, 8:24])
    np.testing.assert_array_equal(low[6], shrink(image, 2)[0][4:12, 4:12])
    assert bicubic(low[0], 2).shape == high[0].shape
    with pytest.raises(ValueError, match="at least 128 x 128 pixels"):
        cut_patches([image], 4)


@pytest.mark.once
def test_batches_turn_both_alike_and_repeat():
    _, high = patches()
    data = PatchBatches(high[:, ::2, ::2], high, steps=2, batch_size=4, seed=1)
    first, again = data[1], PatchBatches(high[:, ::2, ::2], high, steps=2, batch_size=4, seed=1)[1]
    np.testing.assert_array_equal(first[0], again[0])
    images = [
        np.rot90(p[:, :: -1 if flip else 1], k) for p in high.astype("float32") for k in range(4) for flip in (0, 1)
    ]
    assert all(any(np.array_equal(y, image) for image in images) for y in first[1]["prediction"])


@pytest.mark.once
def test_batches_recolour_both_alike():
    low, high = (np.full((8, size, size, 3), 200, "uint8") for size in (4, 8))
    x, y = PatchBatches(low, high, batch_size=200, recolor_rate=0.5)[0]
    gain = x[:, :1, :1] / 200
    np.testing.assert_allclose(x, np.broadcast_to(200 * gain, x.shape), rtol=1e-6)
    np.testing.assert_allclose(y["prediction"][:, :4, :4], x, rtol=1e-6)
    changed = np.any(gain[:, 0, 0] < 1, axis=-1)
    alike = np.ptp(gain[:, 0, 0], axis=-1) < 1e-6
    assert 70 < changed.sum() < 130
    assert 30 < (changed & alike).sum() < 70
    assert gain.min() < 0.05


@pytest.mark.once
def test_a_single_network_learns_and_resumes(tmp_path):
    train = patches()
    rounds = (Round("used", 1, loss="mae", batch_size=4), Round("left_out", 0), Round("squared", 1, batch_size=4))
    recipe = SuperResolutionRecipe(1, 0, 0, rounds=rounds, steps=2, batch_size=4)
    network, again = (SuperResolutionNetwork((8, 8, 3), "fsrcnn", 4, 2) for _ in range(2))
    history = train_branch(network, train, train, tmp_path, recipe)
    assert list(history) == ["branch", "used", "squared"]
    assert train_branch(again, train, train, tmp_path, recipe) == history
    for ours, theirs in zip(again.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:The class module has collapsed")
def test_stages_resume_and_the_knob_pays(tmp_path, monkeypatch):
    train, counted = patches(), []
    monkeypatch.setattr(stages, "logits_and_errors", lambda *a: counted.append(a) or logits_and_errors(*a))
    rounds = (Round("squared", 1, batch_size=4), Round("polish", (0, 2), own_third=False, batch_size=4, share=0.9))
    recipe = SuperResolutionRecipe(
        1, 1, 1, 1, rounds, share=0.99, steps=2, batch_size=4, class_batch_size=4, class_loss_weight=0.0
    )
    keras.utils.set_random_seed(0)
    model = ClassSR(**TINY)
    history = train_classsr(model, train, train, tmp_path, recipe)
    assert list(history) == [
        "branch_0", "branch_1", "class_module", "joint", "errors", "knob",
        "squared_0", "squared_1", "errors_squared", "knob_squared",
        "polish_1", "errors_polish", "knob_polish",
    ]  # fmt: skip
    assert len(history["polish_1"]) == 2
    dearest = max(model.macs_by_part()["branches"])
    for knob, share in (("knob", 0.99), ("knob_squared", 0.99), ("knob_polish", 0.9)):
        assert history[knob][0]["macs"] <= share * dearest
    assert history["knob_polish"][0]["value"] == pytest.approx(model.cost_weight)
    assert {"usage_0", "usage_1"} <= set(history["joint"][0])
    assert len(counted) == 3 * 2  # stages of errors, of the patches to learn from and of the others
    again = ClassSR(**TINY)
    assert train_classsr(again, train, train, tmp_path, recipe) == history
    assert len(counted) == 3 * 3  # a stage that is done asks for the latter alone
    curve = cost_curve(model, *train, batch_size=8)
    macs = [point.macs for point in curve]
    assert macs == sorted(macs, reverse=True)
    parts = model.macs_by_part()
    cheap, dear = parts["branches"]
    assert macs[-1] == pytest.approx(parts["class_module"] + cheap)
    budget = parts["class_module"] + (cheap + dear) / 2
    assert fit_cost_weight(model, *train, budget).macs <= budget
    assert model.mean_macs(images=train[0].astype("float32")) <= budget
    with pytest.raises(ValueError, match="the least this model costs"):
        fit_cost_weight(model, *train, 1)


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:The class module has collapsed")
def test_the_largest_branch_starts_from_the_single_network(tmp_path):
    train = patches()
    model, single = ClassSR(**TINY), SuperResolutionNetwork((8, 8, 3), "fsrcnn", 6, 2)
    before = single.get_layer("branch").get_weights()
    still = SuperResolutionRecipe(1, 1, 0, learning_rate=1e-7, steps=1, batch_size=4)  # 1e-7 is where every rate ends
    train_classsr(model, train, train, tmp_path, still, largest=single)
    for ours, theirs in zip(model.bank.experts[-1].get_weights(), before, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    for ours, theirs in zip(single.get_layer("branch").get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.once
@pytest.mark.filterwarnings("ignore:The class module has collapsed")
def test_what_a_branch_learned_alone_is_the_mixtures(tmp_path):
    train, model = patches(), ClassSR(**TINY)
    train_classsr(model, train, train, tmp_path, SuperResolutionRecipe(1, 1, 0, steps=2, batch_size=4))
    for k, expert in enumerate(model.bank.experts):
        tensors = read_tensors(Checkpoint(tmp_path / f"branch_{k}").path)
        for i, array in enumerate(expert.get_weights()):
            np.testing.assert_array_equal(array, tensors[f"model/{i}"])


@pytest.mark.once
def test_a_round_has_epochs_for_each_branch():
    assert Round("r", 2).epochs_of(3) == (2, 2, 2)
    assert Round("r", (3, 0)).epochs_of(2) == (3, 0)
    with pytest.raises(ValueError, match=r"Round 'r': expected `epochs` .* 3 of them"):
        Round("r", (3, 0)).epochs_of(3)


@pytest.mark.once
def test_collapse_is_reported():
    with pytest.warns(UserWarning, match=r"get 100.0%, 0.0% of the patches"):
        check_collapse(np.eye(2)[[0] * 5])
