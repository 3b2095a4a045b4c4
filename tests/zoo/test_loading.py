"""``zoo.load`` gives the published model or a clear error, and nothing in between."""

import keras
import numpy as np
import pytest
from keras import ops
from tiny_zoo import LABELS, publish, tiny_model

from keras_moe import models, zoo
from keras_moe.layer_state import held, inner_layers
from keras_moe.weights import read_tensors, save_weights, write_tensors
from keras_moe.zoo import store

# NumPy 2 on what the frameworks of all three backends hand it.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

HEAD = {"combiner/predictions/kernel", "combiner/predictions/bias"}


@pytest.fixture
def fresh():
    """Nothing here leaves state in Keras, and clearing it costs more than these tests."""


@pytest.fixture(scope="module")
def original():
    return tiny_model()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, original):
    folder = tmp_path_factory.mktemp("zoo")
    publish(folder, original)
    publish(folder, original, name="tiny-half", dtype="float16")
    return folder


@pytest.fixture(autouse=True)
def published(shared, monkeypatch):
    monkeypatch.setattr(store, "published_folder", lambda: shared)
    monkeypatch.setenv("KERAS_MOE_OFFLINE", "1")
    return shared


@pytest.fixture
def broken(published, tmp_path):
    """Saves the published weights, changed, to a file."""

    def save(change):
        tensors = dict(read_tensors(published / "tiny" / "weights.safetensors"))
        change(tensors)
        write_tensors(tmp_path / "broken.safetensors", tensors)
        return tmp_path / "broken.safetensors"

    return save


def arrays(model):
    return {v.path: ops.convert_to_numpy(v) for v in model.weights}


def assert_equal(received, expected, but=()):
    assert received.keys() - set(but) == expected.keys() - set(but)
    for name in received.keys() - set(but):
        np.testing.assert_array_equal(received[name], expected[name], err_msg=name)


def test_list_models():
    assert zoo.list_models() == ["tiny", "tiny-half"]
    assert zoo.list_models("*half") == ["tiny-half"]
    assert zoo.list_models("TINY") == []
    assert zoo.list_models(task="classification") == ["tiny", "tiny-half"]
    with pytest.raises(ValueError, match=r"`task` must be .* Received: task='poetry'"):
        zoo.list_models(task="poetry")


def test_card():
    assert zoo.card("tiny").classes == LABELS
    with pytest.raises(
        ValueError, match=r"Unknown model 'tinny'\. Did you mean tiny\? Expected one of: tiny, tiny-half"
    ):
        zoo.card("tinny")
    with pytest.raises(ValueError, match=r"Unknown model 'x'\. Expected one of: "):
        zoo.card("x")


@pytest.mark.parametrize("name", ["../tiny", "/nowhere", "", None, "tiny/", "tiny\0", "tiny" * 1000, ["tiny"]])
@pytest.mark.parametrize("function", [zoo.card, zoo.load, lambda name: zoo.decode_predictions([[1.0]], name)])
def test_unknown_names(function, name):
    with pytest.raises(ValueError, match="Unknown model"):
        function(name)


def test_default(original):
    model = zoo.load("tiny")
    assert isinstance(model, models.HydraNet)
    assert_equal(arrays(model), arrays(original))
    x = np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)).astype("float32")
    np.testing.assert_array_equal(model.predict(x, verbose=0), original.predict(x, verbose=0))


def test_half_precision_storage_is_loaded_into_float32(original):
    loaded = arrays(zoo.load("tiny-half"))
    assert {a.dtype for a in loaded.values()} == {np.dtype("float32")}
    stored = {name: a.astype("float16" if a.ndim else "float32") for name, a in arrays(original).items()}
    assert_equal(loaded, {name: a.astype("float32") for name, a in stored.items()})


def test_random(original):
    loaded, expected = arrays(zoo.load("tiny", weights=None)), arrays(original)
    assert loaded.keys() == expected.keys()
    assert not np.array_equal(loaded["stem_conv/kernel"], expected["stem_conv/kernel"])


def test_a_path(original, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_weights(original, path)
    assert_equal(arrays(zoo.load("tiny", weights=path)), arrays(original))
    assert_equal(arrays(zoo.load("tiny", weights=str(path))), arrays(original))


def test_a_path_of_a_model_with_other_classes(tmp_path):
    tuned = tiny_model(classes=7)
    save_weights(tuned, tmp_path / "tuned.safetensors")
    assert_equal(arrays(zoo.load("tiny", tmp_path / "tuned.safetensors", classes=7)), arrays(tuned))
    with pytest.raises(ValueError, match=r"wrong shape: combiner/predictions/bias is \(7,\), expected \(5,\)"):
        zoo.load("tiny", tmp_path / "tuned.safetensors")


@pytest.mark.parametrize(
    "name", ["weights.keras", "w.h5", "w.weights.h5", "w.pkl", "w.npz", "w.zip", "w.bin", "weights"]
)
def test_other_formats_are_refused(name, tmp_path):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"path of a .safetensors file; other formats") as raised:
        zoo.load("tiny", weights=tmp_path / name)
    assert name in str(raised.value)


@pytest.mark.parametrize(
    "weights", ["nowhere.safetensors", "https://host/w.safetensors", ".safetensors", "a\0.safetensors"]
)
def test_no_such_file(weights):
    with pytest.raises(ValueError, match="Received: weights="):
        zoo.load("tiny", weights=weights)


@pytest.mark.parametrize("weights", ["imagenet", "Default", "", "tiny"])
def test_other_words(weights):
    with pytest.raises(ValueError, match="`weights` must be 'default', None or the path"):
        zoo.load("tiny", weights=weights)


def test_random_values_are_drawn_for_a_new_head_alone(monkeypatch):
    drawn, draw = [], keras.initializers.VarianceScaling.__call__

    def noted(self, shape, *args, **kwargs):
        drawn.append(tuple(shape))
        return draw(self, shape, *args, **kwargs)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", noted)
    zoo.load("tiny")
    assert not drawn
    head = arrays(zoo.load("tiny", classes=7))["combiner/predictions/kernel"]
    assert drawn == [head.shape]
    assert np.ptp(head) > 0


def test_a_loaded_model_is_described_and_made_anew_as_any_other(original):
    model = zoo.load("tiny")
    configs = [
        [layer.get_config() for layer in inner_layers(each) if layer.weights and not held(layer)]
        for each in (model, original)
    ]
    assert configs[0] == configs[1]
    assert model.get_config() == {**original.get_config(), "name": "tiny"}
    anew = arrays(models.HydraNet.from_config(model.get_config()))
    assert all(np.ptp(array) > 0 for name, array in anew.items() if name.endswith("kernel"))
    if keras.backend.backend() == "torch":
        assert len(model.state_dict()) == len(original.state_dict()) > 0


def test_other_number_of_classes_keeps_all_but_the_head(original):
    model = zoo.load("tiny", classes=7)
    assert model.output_shape == (None, 7)
    loaded = arrays(model)
    assert_equal(loaded, arrays(original), but=HEAD)
    assert loaded["combiner/predictions/kernel"].shape[-1] == 7


def test_same_number_of_classes_keeps_the_head(original):
    assert_equal(arrays(zoo.load("tiny", classes=len(LABELS))), arrays(original))


def test_heads_inside_the_branches(original, tmp_path, monkeypatch):
    config = {**zoo.card("tiny").config, "combine": "logits"}
    own_heads = tiny_model(combine="logits")
    publish(tmp_path / "zoo", own_heads, config=config)
    monkeypatch.setattr(store, "published_folder", lambda: tmp_path / "zoo")
    heads = [f"branch_{k}_predictions/{part}" for k in range(3) for part in ("kernel", "bias")]
    loaded = arrays(zoo.load("tiny", classes=7))
    assert_equal(loaded, arrays(own_heads), but=heads)
    assert {loaded[name].shape[-1] for name in heads} == {7}


def test_a_dense_network(tmp_path, monkeypatch):
    config = {"input_shape": (8, 8, 3), "backbone": "resnet8", "alpha": 0.5}
    dense = models.Classifier(**config, classes=len(LABELS))
    publish(tmp_path / "zoo", dense, system="dense", model="Classifier", config=config)
    monkeypatch.setattr(store, "published_folder", lambda: tmp_path / "zoo")
    assert_equal(arrays(zoo.load("tiny")), arrays(dense))
    assert_equal(
        arrays(zoo.load("tiny", classes=2)), arrays(dense), but=["head/predictions/kernel", "head/predictions/bias"]
    )


@pytest.mark.parametrize("classes", [0, -1, 2.0, True, "5"])
def test_classes_out_of_range(classes):
    with pytest.raises(ValueError, match="`classes` must be None or an int >= 1"):
        zoo.load("tiny", classes=classes)


def test_without_the_head(original):
    model = zoo.load("tiny", include_top=False, pooling="avg")
    assert len(model.output_shape) == 2
    expected = {name: a for name, a in arrays(original).items() if name not in HEAD}
    assert_equal(arrays(model), expected)


def test_further_arguments(original):
    model = zoo.load("tiny", name="mine", input_shape=(16, 16, 3), classifier_activation=None)
    assert model.name == "mine"
    assert model.input_shape == (None, 16, 16, 3)
    assert_equal(arrays(model), arrays(original))


def test_mixed_precision_keeps_float32_weights(original):
    model = zoo.load("tiny", dtype="mixed_float16")
    assert_equal(arrays(model), arrays(original))


def test_an_argument_kept_in_a_variable_is_the_callers(original):
    model = zoo.load("tiny", drop_below=0.25)
    assert model.drop_below == 0.25
    assert_equal(arrays(model), arrays(original), but=["top_k/drop_below"])


def test_unknown_arguments():
    with pytest.raises(TypeError, match=r"HydraNet has no arguments \['colour'\]. Expected some of \['alpha'"):
        zoo.load("tiny", colour="red")


def test_arguments_that_change_the_network_do_not_fit():
    with pytest.raises(ValueError, match=r"tiny/weights.safetensors do not fit the model") as raised:
        zoo.load("tiny", num_experts=4)
    assert "missing: branch_3" in str(raised.value)


def test_every_misfit_in_one_error_and_nothing_assigned(broken, monkeypatch):
    def change(tensors):
        del tensors["gate_logits/bias"]
        tensors["gate_logits/kernel"] = np.zeros((2, 2), "float32")
        tensors["spare"] = np.zeros(3, "float32")
        tensors["stem_conv/kernel"] = np.full_like(tensors["stem_conv/kernel"], np.nan)
        tensors["combiner/predictions/bias"] = np.zeros(5, "int32")

    assigned = []
    monkeypatch.setattr(keras.Variable, "assign", lambda self, value: assigned.append(self.path))
    with pytest.raises(ValueError, match="nothing was loaded") as raised:
        zoo.load("tiny", weights=broken(change))
    assert str(raised.value).splitlines()[1:] == [
        "  missing: gate_logits/bias (3,)",
        "  not finite: stem_conv/kernel",
        "  unknown: spare (3,)",
        "  wrong shape: gate_logits/kernel is (2, 2), expected (16, 3)",
        "  wrong type: combiner/predictions/bias is int32, expected float32",
    ]
    assert not assigned


def test_a_number_too_large_for_float16(broken):
    def change(tensors):
        tensors["stem_conv/kernel"] = tensors["stem_conv/kernel"] + np.float32(1e5)

    assert zoo.load("tiny", weights=broken(change)).weights
    with pytest.raises(ValueError, match="not finite: stem_conv/kernel as float16"):
        zoo.load("tiny", weights=broken(change), dtype="float16")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite(broken, value):
    def change(tensors):
        tensors["stem_conv/kernel"] = tensors["stem_conv/kernel"].copy()
        tensors["stem_conv/kernel"].flat[5] = value

    with pytest.raises(ValueError, match="not finite: stem_conv/kernel"):
        zoo.load("tiny", weights=broken(change))


def test_a_double_too_large_for_float32(broken):
    def change(tensors):
        tensors["gate_logits/bias"] = np.array([0.0, 1e300, 0.0])

    with pytest.raises(ValueError, match="not finite: gate_logits/bias"):
        zoo.load("tiny", weights=broken(change))


def test_published_weights_that_were_changed(tmp_path, original, monkeypatch):
    publish(tmp_path, original)
    monkeypatch.setattr(store, "published_folder", lambda: tmp_path)
    path = tmp_path / "tiny" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(zoo.IntegrityError, match="is not the file its card names"):
        zoo.load("tiny")


def test_decode_predictions():
    preds = np.array([[0.5, 0.25, 0.125, 0.0625, 0.0625], [0.0, 0.0, 0.25, 0.75, 0.0]], "float32")
    assert zoo.decode_predictions(preds, "tiny", top=3) == [
        [(0, "ant", 0.5), (1, "bee", 0.25), (2, "cicada", 0.125)],
        [(3, "dragonfly", 0.75), (2, "cicada", 0.25), (0, "ant", 0.0)],
    ]
    assert zoo.decode_predictions(ops.convert_to_tensor(preds), "tiny")[0][3:] == [
        (3, "dragonfly", 0.0625),
        (4, "earwig", 0.0625),
    ]
    assert zoo.decode_predictions(np.zeros((0, 5)), "tiny") == []
    assert zoo.decode_predictions(np.array([[0, 3, 1, 2, 0]], "uint8"), "tiny", 1) == [[(1, "bee", 3.0)]]


@pytest.mark.parametrize("shape", [(5,), (1, 4), (1, 6), (1, 5, 1), ()])
def test_decode_predictions_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"Expected `preds` of shape \(n, 5\). Received: shape \("):
        zoo.decode_predictions(np.zeros(shape), "tiny")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_decode_predictions_that_are_not_finite(value):
    with pytest.raises(ValueError, match=r"finite. Received: NaN or infinity"):
        zoo.decode_predictions(np.full((1, 5), value), "tiny")


@pytest.mark.parametrize("top", [0, -1, 6, 1.0, True, None])
def test_decode_predictions_top_out_of_range(top):
    with pytest.raises(ValueError, match=r"`top` must be an int in 1…5. Received: top="):
        zoo.decode_predictions(np.zeros((1, 5)), "tiny", top)


@pytest.mark.once
@pytest.mark.parametrize(
    "view",
    [lambda x: x.T, lambda x: x[::-1], lambda x: x[:, ::2], lambda x: np.asarray(x, order="F"), lambda x: x[0, 0]],
)
def test_an_array_is_written_as_it_reads_not_as_it_lies_in_memory(view, tmp_path):
    array = view(np.arange(12.0).reshape(3, 4))
    write_tensors(tmp_path / "x.safetensors", {"x": array})
    read = read_tensors(tmp_path / "x.safetensors")["x"]
    assert read.shape == array.shape
    np.testing.assert_array_equal(read, array)


@pytest.mark.once
def test_weights_that_would_overwrite_each_other_are_not_saved(tmp_path):
    class Twins(keras.Model):
        def __init__(self):
            super().__init__(name="twins")
            self.layers_of_one_name = [keras.layers.Dense(2, name="dense") for _ in range(2)]

        def call(self, x):
            return self.layers_of_one_name[1](self.layers_of_one_name[0](x))

    model = Twins()
    model(np.zeros((1, 2)))
    with pytest.raises(ValueError, match="'twins' has weights with equal paths; give its layers distinct names"):
        save_weights(model, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []
