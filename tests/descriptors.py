"""Every layer and model once, tiny; the cross-cutting tests run over this list, each on the worker of its name."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_moe import layers, models


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """``create()`` makes the object; ``shapes`` are its inputs without the batch; ``weights`` counts its variables.

    Of a model, ``learns`` are starts of names of variables that training moves, and ``headless`` says whether it can do
    without its head; None: it is not asked.
    """

    name: str
    create: object
    shapes: tuple[tuple[int, ...], ...]
    weights: int
    learns: tuple[str, ...] = ()
    headless: bool | None = True


def _bank(**kwargs):
    return layers.ExpertBank([keras.layers.Dense(3, name=f"expert_{k}") for k in range(4)], **kwargs)


def _patchwise(**kwargs):
    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.Conv2D(5, 2, 2, name="conv")(inputs), name="network")
    return layers.PatchWise(network, patch=4, context=2, **kwargs)


LAYERS = [
    Descriptor("gate", lambda **kw: layers.TopKGate(top_k=2, temperature=0.5, noise_std=0.1, seed=3, **kw), ((4,),), 1),
    Descriptor("gate_per_pixel", lambda **kw: layers.TopKGate(top_k=1, train_top_k=4, **kw), ((2, 2, 4),), 1),
    Descriptor("bank", _bank, ((5,), (4,)), 8),
    Descriptor("average", lambda **kw: layers.Ensembler(**kw), ((5,), (5,), (3,)), 0),
    Descriptor("learned", lambda **kw: layers.Ensembler(learned=True, **kw), ((5,), (5,), (3,)), 1),
    Descriptor("weighted_sum", lambda **kw: layers.WeightedSum(2, **kw), ((4, 4, 6), (3, 2)), 0),
    Descriptor("attention", lambda **kw: layers.EfficientAttention(2, 2, **kw), ((4, 4, 6),), 10),
    Descriptor("patchwise", _patchwise, ((8, 8, 3),), 2),
    Descriptor("pixel_shuffle", lambda **kw: layers.PixelShuffle(2, **kw), ((3, 2, 8),), 0),
    Descriptor("cost_bias", lambda **kw: layers.CostBias([0.5, 1.0], 0.3, **kw), ((2,),), 1),
    Descriptor("exit", lambda **kw: layers.EarlyExit(threshold=0.3, **kw), ((3,), (3,), (5,)), 1),
    Descriptor("exit_product", lambda **kw: layers.EarlyExit("product", 0.1, **kw), ((3,), (3,), (5,)), 1),
]

TINY = {"input_shape": (8, 8, 3), "alpha": 0.5, "backbone": "resnet8", "classes": 5}
LITE = {**TINY, "backbone": "litenet"}
HYDRA = {**TINY, "num_experts": 3, "gate_filters": 8}
SINGLE = {**TINY, "num_experts": 3}

_HYDRA, _SINGLE, _OWN = ("stem", "gate", "branch_"), ("stem", "stage2", "expert_"), ("conv0", "logits", "expert_")
_BOTH = ("expert_0", "expert_1", "gate", "conv_predictions")
_CLASSSR = ("class_", "branch_0", "branch_1")
_IMAGE = ((8, 8, 3),)


def _hydra(**fixed):
    return lambda **kw: models.HydraNet(**{**HYDRA, **fixed, **kw})


def _single(**fixed):
    return lambda **kw: models.SingleGatedMoE(**{**SINGLE, **fixed, **kw})


def _own(**fixed):
    return lambda **kw: models.SingleGatedMoE.from_classifier(
        tiny_classifier(activation="softmax"), **{"num_experts": 3, **fixed, **kw}
    )


def tiny_classifier(input_shape=(8, 8, 3), classes=5, dropout=0.0, activation=None):
    """A user's own classifier of two convolutions with BatchNorm, for mixtures that take little time to train."""
    x = inputs = keras.Input(input_shape)
    x = keras.layers.Rescaling(1 / 127.5, -1.0, name="scaling")(x)
    for i, filters in enumerate((8, 16)):
        x = keras.layers.Conv2D(filters, 3, 2, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"bn{i}")(x)
        x = keras.layers.ReLU(name=f"relu{i}")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(keras.layers.GlobalAveragePooling2D(name="pool")(x))
    return keras.Model(inputs, keras.layers.Dense(classes, activation, name="logits")(x), name="tiny")


def deciding_moe():
    """``(model, images)``: a tiny mixture that sends some of 40 images to each expert and lets others leave early."""
    model = models.SingleGatedMoE.from_classifier(tiny_classifier(activation="softmax"), num_experts=3, threshold=0.6)
    rng = np.random.default_rng(2)  # the same weights on each backend
    for weight in model.weights:
        if weight.path.endswith("kernel"):
            weight.assign(rng.normal(0, 2 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape))
    brightness = np.random.default_rng(1).uniform(0, 1, (40, 1, 1, 3))
    return model, (brightness * np.random.default_rng(0).uniform(0, 255, (40, 8, 8, 3))).astype("float32")


def tiny_segmenter(filters=4, classes=5):
    """A segmentation network of two convolutions, for mixtures that take no time to compile."""
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255, name="scaling")(x)
    x = keras.layers.Conv2D(filters, 4, 4, activation="relu", name="deep")(x)
    x = keras.layers.BatchNormalization(name="deep_bn")(x)
    x = keras.layers.UpSampling2D(4, interpolation="bilinear", name="up")(x)
    x = keras.layers.Conv2D(classes, 3, padding="same", name="predictions")(x)
    return keras.Model(inputs, x, name="tiny")


def _segmentation(**fixed):
    return lambda **kw: models.SegmentationMoE.from_network(tiny_segmenter(), **{**fixed, **kw})


# Two scales: patches of 4x4 pixels with 2 around them, then of 4x4 alone.
TWO_SCALES = {
    "filters": (4, 8), "depths": (1, 1), "heads": (1, 2), "reductions": (2, 1), "patches": (4, 4), "contexts": (2, 0),
    "strides": (2, 2), "mlp_ratio": 1, "decoder_filters": 4,
}  # fmt: skip
PATCHER = {"input_shape": (8, 8, 3), "size": TWO_SCALES, "classes": 5}


def _patcher(**fixed):
    return lambda **kw: models.Patcher(**{**PATCHER, **fixed, **kw})


def _patcher_backbone(**kwargs):
    size = {"decoder_filters": 4}
    return models.Patcher(**{**TINY, "size": size, **kwargs})


def _unet(**kwargs):
    return models.UNet(**{"input_shape": (8, 8, 3), "filters": (4, 6), "classes": 5, **kwargs})


def _sr(model, filters, **fixed):
    return lambda **kw: model(**{"input_shape": (8, 8, 3), "filters": filters, "scale": 2, **fixed, **kw})


def _upcycled(**fixed):
    return lambda **kw: models.upcycle(tiny_classifier(activation="softmax"), num_experts=2, **{**fixed, **kw})


_ANYTIME = {"top_k": 2, "rule": "product", "threshold": 0.05, "learned": True, "gate_units": 4}
_HYDRA_OF_2 = {"system": "hydranet", "gate_filters": 8}

MODELS = [
    Descriptor("hydranet", _hydra(), _IMAGE, 85, _HYDRA),
    Descriptor("hydranet_logits", _hydra(combine="logits"), _IMAGE, 89, _HYDRA, headless=False),
    Descriptor("classifier", lambda **kw: models.Classifier(**{**TINY, **kw}), _IMAGE, 47, ("stem", "stage0")),
    Descriptor("litenet", lambda **kw: models.Classifier(**{**LITE, **kw}), _IMAGE, 112, ("stem", "stage0")),
    # Top-1: the chosen weight is 1 whatever the gate says, so that this gate learns by supervision only.
    Descriptor("single_gated", _single(num_experts=2), _IMAGE, 85, _SINGLE, headless=False),
    Descriptor("small_base", _single(num_experts=2, base_size=4), _IMAGE, 145, ("stem", "expert_"), headless=False),
    Descriptor("single_gated_top2", _own(**_ANYTIME), _IMAGE, 40, (*_OWN, "gate", "ensembler"), headless=None),
    Descriptor("upcycled", _upcycled(), _IMAGE, 30, _OWN, headless=None),
    Descriptor("upcycled_hydranet", _upcycled(**_HYDRA_OF_2), _IMAGE, 27, ("conv0", "gate", "branch_"), headless=None),
    Descriptor("sr_network", _sr(models.SuperResolutionNetwork, 3), _IMAGE, 20, ("branch_",), headless=None),
    Descriptor("classsr", _sr(models.ClassSR, (3, 4), class_filters=4), _IMAGE, 54, _CLASSSR, headless=None),
    Descriptor("segmentation", _segmentation(gate_kind="class", conv=True), _IMAGE, 22, _BOTH, headless=None),
    Descriptor("patcher", _patcher(), _IMAGE, 77, ("block_0", "expert_0", "gate", "head"), headless=False),
    Descriptor(
        "patcher_backbone", _patcher_backbone, _IMAGE, 78, ("stem", "stage0", "expert_0", "gate"), headless=False
    ),
    Descriptor("unet", _unet, _IMAGE, 32, ("encode_0", "decode_0", "predictions"), headless=False),
    Descriptor("segmentation_sparse", _segmentation(sparse=True), _IMAGE, 23, ("expert_", "gate"), headless=None),
]


def each_of(descriptors):
    """Marks a test of ``d``, which runs on the worker that has the object of this name."""
    group = pytest.mark.xdist_group
    return pytest.mark.parametrize("d", [pytest.param(d, id=d.name, marks=group(d.name)) for d in descriptors])


each = each_of([*LAYERS, *MODELS])
each_model = each_of(MODELS)


@functools.cache
def shared(d):
    """The object of ``d`` for tests that leave it as it is: made, traced and compiled once."""
    return d.create()


def arrays(d, n=6):
    """``n`` rows of random numbers for each input."""
    rng = np.random.default_rng(0)
    return [rng.random((n, *shape)).astype("float32") for shape in d.shapes]


def symbolic(d):
    """The inputs as tensors without values."""
    return [keras.KerasTensor((None, *shape)) for shape in d.shapes]


def numpy(x):
    """``x`` as a float32 array."""
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def call(layer, d, inputs):
    """The outputs of a layer that is built if need be."""
    if not layer.built:
        layer(*symbolic(d))
    return run(layer, *inputs)


def run(layer, *inputs):
    """The outputs; on JAX compiled, because each operation of an eager call is a compilation of its own there."""
    inputs = [ops.convert_to_tensor(x) for x in inputs]
    if keras.backend.backend() != "jax":
        return layer(*inputs)
    return _compiled(layer)([variable.value for variable in layer.variables], *inputs)


@functools.cache
def _compiled(layer):
    import jax

    def called(values, *inputs):
        with keras.StatelessScope(state_mapping=zip(layer.variables, values, strict=True)):
            return layer(*inputs)

    return jax.jit(called)


@functools.cache
def output(d):
    """What the shared object gives for ``arrays(d)``."""
    return numpy(call(shared(d), d, arrays(d)))
