"""The same networks and predictions under either ``image_data_format``; networks of the other layout are refused."""

import keras
import numpy as np
import pytest
from descriptors import LAYERS, MODELS, arrays, call, each_of, numpy, output, run, shared, tiny_classifier
from keras import layers, ops

from keras_moe import cost, zoo
from keras_moe.layers import PatchWise
from keras_moe.models import HydraNet, SegmentationMoE, Segmenter, SingleGatedMoE, SuperResolutionNetwork, upcycle
from keras_moe.training import StructureLoss
from keras_moe.weights import read_tensors
from keras_moe.zoo.store import fetch

OWN = ("single_gated_top2", "upcycled", "upcycled_hydranet", "segmentation", "segmentation_sparse", "patchwise")
NAMED = [d for d in [*LAYERS, *MODELS] if d.name not in OWN]  # made of the package's own layers
X = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")


@pytest.fixture(autouse=True)
def channels_last_again():
    yield
    keras.config.set_image_data_format("channels_last")


def channels_first():
    keras.config.set_image_data_format("channels_first")


@each_of(NAMED)
def test_the_setting_changes_nothing(d):
    usual, expected = shared(d), output(d)
    channels_first()
    other = d.create()
    numpy(call(other, d, arrays(d)))
    assert [w.shape for w in other.weights] == [w.shape for w in usual.weights]
    other.set_weights(usual.get_weights())
    np.testing.assert_allclose(numpy(call(other, d, arrays(d))), expected, atol=1e-6)
    if d in MODELS:
        assert other.macs_by_part() == usual.macs_by_part()
        assert type(other).from_config(other.get_config()).output_shape == usual.output_shape


@pytest.mark.once
@pytest.mark.parametrize(
    "make",
    [
        lambda: Segmenter((16, 16, 3), 0.25, "litenet", classes=3),
        lambda: Segmenter((16, 16, 3), 0.1, "frrn_a", classes=3),
        lambda: SegmentationMoE((16, 16, 3), 0.25, "resnet8", gate_kind="pixel", conv=True, classes=3),
        lambda: SegmentationMoE((16, 16, 3), 0.25, "resnet8", sparse=True, classes=3),
        lambda: HydraNet((8, 8, 3), 0.5, "resnet8", num_experts=2, include_top=False, pooling="max"),
        lambda: SuperResolutionNetwork((8, 8, 3), "srresnet", 4, 2),
        lambda: SuperResolutionNetwork((8, 8, 3), "carn", 8, 2),
    ],
)
def test_every_family_is_channels_last(make):
    usual = make()
    channels_first()
    other = make()
    assert other.output_shape == usual.output_shape
    assert [(w.path, w.shape) for w in other.weights] == [(w.path, w.shape) for w in usual.weights]


@pytest.mark.once
@pytest.mark.parametrize("name", zoo.list_models("test_*"))
def test_published_models_give_their_golden_answers(name):
    golden = read_tensors(fetch(name, zoo.card(name).file("golden.safetensors")))
    channels_first()
    model = zoo.load(name, **{"classifier_activation": None} if zoo.card(name).classes else {})
    outputs, route = model.predict_routed(golden["images"])
    np.testing.assert_allclose(outputs, golden["outputs"], atol=1e-3)
    if route is not None:
        np.testing.assert_allclose(route, golden["route"], atol=1e-4)
    assert model.macs_total == zoo.card(name).macs_total


@pytest.mark.parametrize("system", ["single_gated", "hydranet"])
def test_a_classifier_made_before_the_setting_changed_is_upcycled(system):
    classifier = tiny_classifier(activation="softmax")
    expected = numpy(run(classifier, X))
    channels_first()
    model = upcycle(classifier, num_experts=2, system=system)
    model = type(model).from_config(model.get_config())
    model.set_weights(upcycle(classifier, num_experts=2, system=system).get_weights())
    np.testing.assert_allclose(numpy(run(model, X)), expected, atol=1e-5)


def test_networks_of_the_other_layout_are_refused():
    channels_first()
    classifier, images = tiny_classifier((3, 8, 8)), keras.Input((3, 8, 8))
    segmenter = keras.Model(images, layers.Permute((2, 3, 1))(layers.Conv2D(5, 1)(images)))
    inside = keras.Input((4, 4, 3))
    patches = keras.Model(inside, layers.Conv2D(4, 1, name="conv0")(inside))
    nested = keras.Sequential([keras.Input((3, 8, 8)), keras.Sequential([layers.Conv2D(4, 3, name="conv0")])])
    nested.add(layers.Flatten())
    nested.add(layers.Dense(5))
    for refused in (
        lambda: upcycle(classifier),
        lambda: upcycle(nested),
        lambda: HydraNet.from_classifier(classifier),
        lambda: SingleGatedMoE.from_classifier(classifier),
        lambda: SingleGatedMoE(**{"backbone": "resnet8", "classes": 5}).init_from_classifier(classifier),
        lambda: SegmentationMoE.from_network(segmenter),
        lambda: PatchWise(patches, 4, 0)(np.zeros((1, 8, 8, 3), "float32")),
        lambda: cost.macs(classifier, (None, 3, 8, 8)),
    ):
        with pytest.raises(ValueError, match=r"channels_first.*set_image_data_format\('channels_last'\)"):
            refused()


def test_vectors_have_no_layout():
    channels_first()
    mlp = keras.Sequential([keras.Input((6,)), layers.Flatten(), layers.Dense(8, "relu"), layers.Dense(4)])
    x = np.random.default_rng(0).random((5, 6)).astype("float32")
    np.testing.assert_allclose(numpy(run(upcycle(mlp, num_experts=2), x)), numpy(run(mlp, x)), atol=1e-5)


@keras.saving.register_keras_serializable(package="tests")
class Pooled(layers.Layer):
    """A layer that asks the setting when it is made and keeps its value to itself."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.pool = layers.GlobalAveragePooling2D()

    def call(self, x):
        return self.pool(x)


def test_a_copy_that_would_pool_other_axes_is_refused():
    images = keras.Input((4, 4, 4))
    x = layers.Conv2D(4, 1)(images)
    classifier = keras.Model(images, layers.Dense(3)(Pooled(name="pooled")(x)))
    upcycle(classifier, num_experts=2)
    channels_first()
    with pytest.raises(ValueError, match=r"'pooled'.*channels_first.*set_image_data_format\('channels_last'\)"):
        upcycle(classifier, num_experts=2)


def test_the_structure_loss_looks_around_in_the_image():
    masks = np.zeros((1, 40, 6), "int32")
    masks[:, :20] = 1
    logits = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(1, 40, 6, 2)).astype("float32"))
    expected = float(StructureLoss()(masks, logits))
    channels_first()
    assert float(StructureLoss()(masks, logits)) == pytest.approx(expected, abs=1e-6)
