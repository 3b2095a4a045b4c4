"""Any classifier turned into a mixture: before training it predicts as the classifier does."""

import pathlib
import re

import keras
import numpy as np
import pytest
from keras import layers

from keras_moe.models import Classifier, HydraNet, upcycle
from keras_moe.models.split_classifier import ClassifierSplit

SYSTEMS = ("single_gated", "hydranet")


def mobilenet_v2():
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=7)


def mobilenet_v3():  # its logits come from a convolution
    return keras.applications.MobileNetV3Small((32, 32, 3), alpha=0.75, minimalistic=True, weights=None, classes=7)


def transfer():  # a pretrained body as one layer, called in inference mode, and a head that ends in logits
    body = keras.applications.MobileNet((32, 32, 3), alpha=0.25, include_top=False, weights=None)
    x = keras.Input((32, 32, 3))
    y = layers.GlobalAveragePooling2D()(body(x, training=False))
    return keras.Model(x, layers.Dense(7)(layers.Dropout(0.3)(y)), name="transfer")


def sequential():
    body = [layers.Conv2D(4, 3), layers.Conv2D(8, 3), layers.Flatten()]
    return keras.Sequential([keras.Input((12, 12, 1)), *body, layers.Dense(5), layers.Softmax()])


def two_roads():  # two branches of one stem that meet at the end, a layer used twice on the way
    x = keras.Input((8, 8, 3))
    stem = layers.Conv2D(6, 3, padding="same", name="stem")(x)
    twice = layers.Conv2D(6, 3, padding="same", activation="relu", name="twice")
    left, right = twice(twice(stem)), layers.MaxPooling2D(3, 1, "same")(stem)
    y = layers.Concatenate(name="meet")([left, right])
    return keras.Model(x, layers.Dense(4, "softmax")(layers.GlobalMaxPooling2D()(y)), name="two_roads")


def long_skip():  # the stem goes all the way to the end: only the stem and what follows the sum are cuts
    x = keras.Input((8, 8, 3))
    stem = layers.Conv2D(6, 3, padding="same", name="stem")(x)
    y = layers.Conv2D(6, 3, padding="same", name="inner")(stem)
    y = layers.Add(name="sum")([stem, layers.BatchNormalization(name="norm")(y)])
    return keras.Model(x, layers.Dense(4, "softmax", name="end")(layers.GlobalAveragePooling2D(name="pool")(y)))


LARGE = [
    pytest.param(make, marks=pytest.mark.once, id=make.__name__) for make in (mobilenet_v2, mobilenet_v3, transfer)
]
CLASSIFIERS = (*LARGE, sequential, two_roads, long_skip)


@pytest.mark.parametrize("make", CLASSIFIERS, ids=lambda make: make.__name__)
def test_answers_as_the_classifier(make):
    classifier = make()
    x = np.random.default_rng(0).random((3, *classifier.input_shape[1:])).astype("float32") * 255
    before = classifier.predict(x, verbose=0)
    for system in SYSTEMS:
        model = upcycle(classifier, num_experts=3, system=system)
        np.testing.assert_allclose(model.predict(x, verbose=0), before, atol=1e-5)
        assert not {id(w) for w in model.weights} & {id(w) for w in classifier.weights}
        np.testing.assert_array_equal(classifier.predict(x, verbose=0), before)


# One of each family, the smallest, on images about as small as it takes; the other sizes only have more of the same
# layers. Compiling takes a minute a family on TensorFlow and JAX, and none on PyTorch.
FAMILIES = {
    "ConvNeXtTiny": 32, "DenseNet121": 32, "EfficientNetB0": 32, "EfficientNetV2B0": 32, "InceptionResNetV2": 75,
    "InceptionV3": 75, "MobileNet": 32, "MobileNetV2": 32, "MobileNetV3Large": 32, "MobileNetV3Small": 32,
    "NASNetMobile": 32, "ResNet50": 32, "ResNet50V2": 32, "VGG16": 32, "Xception": 71,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_keras_applications(family, backend):
    if family == "NASNetMobile" and backend == "torch":
        pytest.skip("Keras has no NASNet on PyTorch")
    size = FAMILIES[family]
    classifier = getattr(keras.applications, family)(weights=None, input_shape=(size, size, 3), classes=7)
    x = np.random.default_rng(0).uniform(0, 255, (3, size, size, 3)).astype("float32")
    expected, model = classifier.predict(x, verbose=0), upcycle(classifier, num_experts=2)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(model.predict(x[:1], verbose=0), expected[:1], atol=1e-5)


def test_no_family_of_keras_applications_is_left_out():
    def family(name):
        return re.sub(r"\d{2,3}|B\d$|(?<=V2)[SML]$|(?<=ConvNeXt)\w+|(?<=NASNet)\w+", "", name)

    makers = [name for name, value in vars(keras.applications).items() if callable(value)]
    assert {family(name) for name in makers} == {family(name) for name in FAMILIES}


def test_a_copy_does_not_stop_at_the_border_of_frozen_layers():
    classifier = sequential()
    classifier.trainable = False
    model = upcycle(classifier, num_experts=2)
    assert all(expert.trainable for expert in model.bank.experts)


def test_the_cut_is_proposed_or_given():
    model = upcycle(Classifier(backbone="resnet14"))
    assert model.get_config()["split_at"] == "stage1_block1_relu"
    macs = model.macs_by_part()
    assert macs["experts"][0] <= macs["base"] / 3
    assert upcycle(long_skip(), "sum", num_experts=2).get_config()["split_at"] == "sum"


def test_the_file_holds_the_classifier_s_design(tmp_path):
    model = upcycle(two_roads(), "meet", num_experts=2, threshold=0.7)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.threshold == pytest.approx(0.7)
    x = np.random.default_rng(0).random((3, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def subclassed():
    class Mine(keras.Model):
        def call(self, x):
            return x

    return Mine()


def two_outputs():
    x = keras.Input((4,))
    return keras.Model(x, [layers.Dense(2)(x), layers.Dense(3)(x)])


def two_inputs():
    x, y = keras.Input((4,)), keras.Input((4,))
    return keras.Model([x, y], layers.Dense(2)(layers.Add()([x, y])))


def sigmoid():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(1, "sigmoid")(layers.Dense(3)(x)))


def of_a_lambda():
    x = keras.Input((4,))
    y = layers.Dense(3, activation=lambda t: 2 * t)(layers.Dense(3)(x))
    return keras.Model(x, layers.Dense(2)(y))


def ending_in(*end):
    def make():
        x = keras.Input((4,))
        y = layers.Dense(2)(layers.Dense(3, name="hidden")(x))
        for layer in end:
            y = layer(y)
        return keras.Model(x, y)

    return make


@pytest.mark.once
@pytest.mark.parametrize(
    ("end", "softmax"),
    [
        ([layers.Softmax()], True),
        ([keras.ops.softmax], True),
        ([layers.Activation("softmax"), layers.Activation("linear", dtype="float32")], True),
        ([layers.Softmax(1), layers.Identity()], True),
        ([layers.Activation("linear")], False),
        ([keras.ops.log_softmax], False),
        ([layers.Rescaling(0.5)], False),
        ([layers.ReLU(), layers.Rescaling(0.5)], False),
    ],
)
def test_what_probabilities_and_logits_end_in(end, softmax):
    assert ClassifierSplit(ending_in(*end)(), "hidden").softmax == softmax


def of_patches():  # a small vision transformer; normalized over several axes on the way
    x = keras.Input((8, 8, 3))
    y = layers.LayerNormalization([1, 2, 3])(layers.Conv2D(6, 2, 2)(x))
    y = layers.Reshape((16, 6), name="patches")(y)
    y = layers.Add(name="attended")([y, layers.MultiHeadAttention(2, 3)(y, y)])
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling1D()(layers.Dense(5, "relu")(y))))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_classifier_of_patches(system):
    classifier, x = of_patches(), np.random.default_rng(0).random((3, 8, 8, 3)).astype("float32")
    model = upcycle(classifier, "attended", num_experts=2, system=system)
    np.testing.assert_allclose(model.predict(x, verbose=0), classifier.predict(x, verbose=0), atol=1e-5)
    assert model.route(x).shape == (3, 2)


def classified(x, y):
    y = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 3, activation="relu", name="cut")(y))
    return keras.Model(x, layers.Dense(4)(y))


def called_by_names():  # in another order than that of the names
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    difference, x = keras.Model([b, a], layers.Subtract()([b, a])), keras.Input((8, 8, 3))
    return classified(x, difference({"a": layers.Rescaling(0.1)(x), "b": layers.Rescaling(0.5)(x)}))


def called_by_keyword():
    a, x = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    return classified(x, keras.Model(a, layers.Conv2D(3, 3)(a))(inputs=x))


def reading_integers():  # what it is called with is cut to whole numbers
    a, x = keras.Input((8, 8, 3), dtype="uint8"), keras.Input((8, 8, 3))
    return classified(x, keras.Model(a, layers.Rescaling(1.0)(a))(x))


def sharing_a_layer():  # between two models inside
    shared, x = layers.Conv2D(3, 3, padding="same"), keras.Input((8, 8, 3))
    inputs = [keras.Input((8, 8, 3)) for _ in range(2)]
    one, other = (
        keras.Model(t, layers.Activation(name)(shared(t))) for t, name in zip(inputs, ("relu", "tanh"), strict=True)
    )
    return classified(x, layers.Add()([one(x), other(x)]))


@pytest.mark.once
@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("make", [called_by_names, called_by_keyword, reading_integers, sharing_a_layer])
def test_models_inside(make, system, tmp_path):
    classifier = make()
    x = np.random.default_rng(0).uniform(0, 9, (3, *classifier.input_shape[1:])).astype("float32")
    model = upcycle(classifier, "cut", num_experts=2, system=system)
    expected = classifier.predict(x, verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.weights) == len(model.weights)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, atol=1e-5)


def masked():
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(9, 4, mask_zero=True, name="words")(x)
    y = layers.SimpleRNN(3, name="reading")(layers.Dense(4, name="each")(y))
    return keras.Model(x, layers.Dense(2)(layers.Dense(3)(y)))


@pytest.mark.once
def test_no_cut_where_a_mask_would_be_lost():
    words = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7]])
    classifier = masked()
    model = upcycle(classifier, "reading", num_experts=2)
    np.testing.assert_allclose(model.predict(words, verbose=0), classifier.predict(words, verbose=0), atol=1e-6)


def segmenter():
    x = keras.Input((8, 8, 3))
    return keras.Model(x, layers.Conv2D(2, 1)(x))


def nothing_before_the_logits():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(2)(x))


def any_size():
    x = keras.Input((None, None, 3))
    y = layers.Conv2D(4, 3, name="second")(layers.Conv2D(4, 3, name="first")(x))
    return keras.Model(x, layers.Dense(5)(layers.GlobalAveragePooling2D(name="pool")(y)), name="any_size")


def regression():
    x = keras.Input((4,))
    return keras.Model(x, layers.Dense(1)(layers.Dense(3)(x)))


@pytest.mark.parametrize("system", SYSTEMS)
def test_any_size_is_cut_where_one_says(system):
    classifier, x = any_size(), np.random.default_rng(0).random((2, 9, 11, 3)).astype("float32")
    model = upcycle(classifier, "first", num_experts=2, system=system)
    np.testing.assert_allclose(model.predict(x, verbose=0), classifier.predict(x, verbose=0), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("file.keras", r"load it first: `keras\.models\.load_model\('file\.keras'\)`"),
        (pathlib.Path("a", "b.keras"), "load it first"),
        (keras.applications.MobileNet, "MobileNet, which makes one; call it"),
        (keras.Sequential, "Sequential, which makes one; call it"),
        (None, "an object of builtins.NoneType"),
        (layers.Dense(3), "Dense; build the network of Keras layers"),
        (keras.Sequential([layers.Dense(3), layers.Dense(2)]), r"begin it with `keras\.Input\(shape\)`"),
    ],
)
def test_what_is_no_classifier(given, message):
    for way in (upcycle, HydraNet.from_classifier):
        with pytest.raises(ValueError, match="load_model" if isinstance(given, str) else message):
            way(given)
    with pytest.raises(ValueError, match=message):
        upcycle(given)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (subclassed, {}, r"functional or Sequential.*build it with `keras\.Input`"),
        (any_size, {}, r"`split_at`, one of \['first', 'second', 'pool'\]; or make it with a known input size"),
        (regression, {}, "one output, which leaves nothing to be sure of"),
        (long_skip, {"split_at": 3}, r"nearest.*'inner'"),
        (two_outputs, {}, "2 outputs"),
        (two_inputs, {}, "2 inputs"),
        (sigmoid, {}, "'sigmoid'"),
        (ending_in(layers.Activation("sigmoid")), {}, "'sigmoid'"),
        (ending_in(keras.ops.sigmoid, layers.Identity()), {}, "'sigmoid'"),
        (ending_in(layers.Softmax(0)), {}, "softmax over axis 0"),
        (ending_in(layers.Softmax(), layers.Reshape((2,))), {}, "whose last call .* is no softmax and gives prob"),
        (ending_in(layers.Softmax(), layers.Rescaling(100.0)), {}, "or a multiple of them"),
        (ending_in(keras.ops.sigmoid, layers.Dropout(0.5)), {}, "up to its logits"),
        (ending_in(lambda y: keras.ops.exp(y) / keras.ops.sum(keras.ops.exp(y), -1, keepdims=True)), {}, "no softmax"),
        pytest.param(
            of_a_lambda,
            {},
            "cannot be copied from its configuration, as a lambda",
            marks=pytest.mark.filterwarnings("ignore:The object being serialized"),
        ),
        (segmenter, {}, r"\(n, classes\)"),
        (nothing_before_the_logits, {}, "cannot be cut"),
        (long_skip, {"split_at": "summ"}, r"nearest.*'sum'"),
        (long_skip, {"split_at": "inner"}, r"after \['stem', 'sum', 'pool'\]"),
        (long_skip, {"split_at": "end"}, "it is the end"),
        (masked, {"split_at": "each"}, r"or a mask, .* One can cut after \['reading'"),
        (long_skip, {"num_experts": 1}, "`num_experts` must be an int >= 2"),
        (long_skip, {"num_experts": 2.0}, "`num_experts`"),
        (long_skip, {"system": "switch"}, "`system` must be one of"),
        (long_skip, {"threshold": 2.0}, r"\[0, 1\]"),
        (long_skip, {"top_k": 9}, "`top_k`"),
    ],
)
def test_bad_input(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        upcycle(make(), **arguments)
