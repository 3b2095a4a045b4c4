"""Functional models taken apart and put together again."""

import pathlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_moe.cost import macs
from keras_moe.graph import open_graph, rebuild


def crossing():
    """in -> a -> b -> c -> d, with a skip from a over b to c: one can cut after a, c and d, not after b."""
    x = keras.Input((4,), name="in")
    a = layers.Dense(4, name="a")(x)
    b = layers.Dense(4, name="b")(a)
    c = layers.Add(name="c")([a, b])
    return keras.Model(x, layers.Dense(2, name="d")(c), name="crossing")


def names(graph):
    return [graph.calls[i].name for i in graph.cuts()]


def test_cuts_are_where_one_tensor_is_enough():
    assert names(open_graph(crossing())) == ["a", "c", "d"]


def test_symbolic_tensors_are_keys():
    """``Graph`` relies on it: Keras compares them by identity."""
    a, b = keras.Input((4,)), keras.Input((4,))
    assert {a: "a", b: "b"}[a] == "a"
    assert b not in {a}


def test_a_part_of_a_graph_leads_to_its_output():
    graph = open_graph(crossing())
    a, b, c, d = graph.calls
    assert graph.until(b.outputs).calls == (a, b)
    assert graph.until([a.outputs, c.outputs]).calls == (a, b, c)
    assert graph.until(d.outputs, through=lambda call: call is not b).calls == (a, c, d)
    assert graph.until(d.outputs, through=lambda call: call in (b, d)).calls == (d,)


def test_a_graph_runs_as_its_model_does_and_tells_what_lies_between():
    model = crossing()
    graph, x = open_graph(model), np.ones((2, 4), "float32")
    values = graph.run([keras.ops.convert_to_tensor(x)])
    a, b, c, d = (keras.ops.convert_to_numpy(values[call.outputs]) for call in graph.calls)
    np.testing.assert_allclose(c, a + b, rtol=1e-6)
    np.testing.assert_array_equal(d, model.predict(x, verbose=0))


def test_nested_models_are_opened_and_equal_names_made_distinct():
    inner = keras.Sequential([keras.Input((2,)), layers.Dense(3, name="a")], name="inner")
    x = keras.Input((4,))
    model = keras.Model(x, inner(crossing()(x)))
    assert [call.name for call in open_graph(model).calls] == ["a", "b", "c", "d", "inner_a"]


def test_a_nested_call_in_inference_mode_is_kept_so():
    inner = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(name="bn"), layers.ReLU(name="relu")])
    x = keras.Input((3,))
    bn, relu = open_graph(keras.Model(x, inner(x, training=False))).calls
    assert bn.kwargs["training"] is False
    assert "training" not in relu.kwargs


def test_a_layer_called_twice_is_copied_once():
    x = keras.Input((3,))
    shared = layers.Dense(3, name="shared")
    model = keras.Model(x, layers.Dense(2, name="out")(shared(shared(x))))
    graph = open_graph(model)
    again = rebuild(graph.calls, graph.inputs[0], graph.output, "again", prefix="copy_")
    assert [w.path for w in again.weights] == [
        "copy_shared/kernel", "copy_shared/bias", "copy_out/kernel", "copy_out/bias",
    ]  # fmt: skip
    x = np.random.default_rng(0).random((5, 3)).astype("float32")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert macs(model, (None, 3)) == 9 + 9 + 6


def test_copies_do_not_share_weights():
    model = crossing()
    graph = open_graph(model)
    copy = rebuild(graph.calls, graph.inputs[0], graph.output, "copy")
    before = model.get_weights()
    copy.set_weights([w + 1 for w in before])
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_operations_are_part_of_the_graph():
    x = keras.Input((3,))
    model = keras.Model(x, ops.relu(layers.Dense(2, name="d")(x)) + 1)
    graph = open_graph(model)
    again = rebuild(graph.calls, graph.inputs[0], graph.output, "again")
    x = np.random.default_rng(0).random((5, 3)).astype("float32")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_product_of_two_tensors_has_no_silent_cost():
    x = keras.Input((3, 3))
    with pytest.raises(ValueError, match="no rule for Matmul"):
        macs(keras.Model(x, ops.matmul(x, x)), (None, 3, 3))


def test_an_unknown_name_suggests_the_nearest():
    x = keras.Input((4, 4, 1))
    graph = open_graph(keras.Model(x, layers.Conv2D(1, 1, name="conv1")(x)))
    with pytest.raises(ValueError, match=r"'conv_1'.*\['conv1'"):
        graph.index("conv_1")


def test_a_subclassed_model_is_refused():
    class Opaque(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="functional or Sequential"):
        open_graph(Opaque())


class Tiled(layers.Layer):
    """Repeats its input as often as a file beside the weights says, as lookups make a vector of their vocabulary."""

    count = 1

    def save_assets(self, folder):
        pathlib.Path(folder, "count").write_text(str(self.count))

    def load_assets(self, folder):
        self.count = int(pathlib.Path(folder, "count").read_text())

    def call(self, x):
        return ops.tile(x, (1, self.count))


def test_a_shape_that_depends_on_what_lies_beside_the_weights():
    tiled = Tiled()
    tiled.count = 3
    x = keras.Input((2,))
    model = keras.Model(x, layers.Dense(1, kernel_initializer="ones")(tiled(x)))
    graph = open_graph(model)
    copied = rebuild(graph.calls, graph.inputs[0], graph.output, "copied")
    np.testing.assert_array_equal(copied.predict(np.array([[1.0, 2.0]]), verbose=0), [[9.0]])
