"""What was set on a model and its layers stays set in a file, in a configuration and in a clone."""

import json

import keras
import numpy as np
import pytest
from descriptors import MODELS, tiny_classifier
from keras import layers, ops

from keras_moe.layer_state import inner_layers
from keras_moe.models import SingleGatedMoE, upcycle
from keras_moe.settings import copy_state
from keras_moe.weights import load_weights, save_weights

IMAGES = (np.random.default_rng(0).random((8, 8, 8, 3)) * 255).astype("float32")
LABELS = np.arange(8) % 5


def mixture(**options):
    return upcycle(tiny_classifier(**{"dropout": options.pop("dropout", 0.0)}), "relu0", num_experts=2, **options)


def with_weights(model):
    return [layer for layer in inner_layers(model) if layer.weights and not isinstance(layer, keras.Model)]


def kernels(model):
    return [layer for layer in with_weights(model) if type(layer) in (layers.Conv2D, layers.Dense)]


def saved(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


def state(model):
    """What was set, layer by layer."""
    lora = ("lora_enabled", "lora_rank", "lora_alpha")
    return [
        (type(layer), layer.trainable, layer.dtype_policy.name, [getattr(layer, name, None) for name in lora],
         [(v.name, tuple(v.shape), str(v.dtype), v.trainable) for v in layer.weights])
        for layer in inner_layers(model)
    ]  # fmt: skip


def disturb(model):
    """Sets at least one of everything on ``model``."""
    frozen = next(iter(model.parts))
    for layer in model.parts[frozen]:
        layer.trainable = False
    first, *_ = kernels(model)
    last = [layer for layer in kernels(model) if layer.use_bias][-1]
    first.trainable = True  # in a part that is frozen, or as it was
    last.dtype_policy = "mixed_bfloat16"
    last.bias.trainable = False
    with_lora = next(layer for layer in kernels(model) if layer not in (first, last))
    with_lora.enable_lora(2, lora_alpha=3)
    with_lora.lora_kernel_b.assign(0.1 * np.ones(with_lora.lora_kernel_b.shape))
    with_weights(model)[-2].trainable = False


# Keras keeps files alike on all backends: on the other two, one model that dispatches and one of pixels.
QUICK = ("single_gated_top2", "segmentation_sparse")


@pytest.mark.parametrize(
    "d", [pytest.param(d, id=d.name, marks=[] if d.name in QUICK else pytest.mark.once) for d in MODELS]
)
def test_all_that_was_set(d, tmp_path):
    model = d.create()
    disturb(model)
    again = saved(model, tmp_path)
    assert state(again) == state(model)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    config = json.dumps(keras.saving.serialize_keras_object(model))
    assert json.dumps(keras.saving.serialize_keras_object(again)) == config


def test_a_layer_that_has_lora_answers_and_learns_on(tmp_path):
    model = mixture()
    dense = kernels(model)[-1]
    dense.enable_lora(1, lora_alpha=4)
    dense.lora_kernel_b.assign(np.ones((1, 5)))
    again = saved(model, tmp_path)
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
    copy = kernels(again)[-1]
    np.testing.assert_array_equal(copy.lora_kernel_b, np.ones((1, 5)))
    update = 4 * copy.lora_kernel_a.numpy()  # alpha times a column for each class, over a rank of one
    np.testing.assert_allclose(ops.convert_to_numpy(copy.kernel), copy._kernel.numpy() + update, atol=1e-6)


def test_lora_of_a_classifier_is_part_of_the_mixture_made_of_it(tmp_path):
    classifier = tiny_classifier()
    classifier.get_layer("logits").enable_lora(1, lora_alpha=4)
    classifier.get_layer("logits").lora_kernel_b.assign(np.ones((1, 5)))
    model = upcycle(classifier, "relu0", num_experts=2)
    expected = classifier.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=1e-4)
    np.testing.assert_allclose(saved(model, tmp_path).predict(IMAGES, verbose=0), expected, atol=1e-4)


@pytest.mark.parametrize("nested", [False, True])
def test_a_classifier_frozen_in_part(nested, tmp_path):
    classifier = tiny_classifier()
    classifier.get_layer("conv0").trainable = False
    classifier.get_layer("conv1").kernel.trainable = False
    if nested:
        x = keras.Input((8, 8, 3))
        classifier = keras.Model(x, layers.Dense(5, name="end")(layers.Identity()(classifier(x))))
    model = upcycle(classifier, "relu0", num_experts=2)
    names = [v.path for v in model.non_trainable_weights if "kernel" in v.path]
    assert names == ["conv0/kernel", "conv1/kernel", "expert_0_conv1/kernel", "expert_1_conv1/kernel"]
    again = saved(model, tmp_path)
    assert state(again) == state(model)
    again.get_layer("trunk").get_layer("conv0").trainable = True
    assert state(saved(again, tmp_path)) == state(again) != state(model)


def quantize_all(model, mode):
    model.quantize(mode, filters=lambda layer: isinstance(layer, layers.Dense))


def quantize_an_expert(model, mode):
    model.bank.experts[1].quantize(mode, filters=lambda layer: isinstance(layer, layers.Dense))


def quantize_a_layer_with_lora(model, mode):
    dense = kernels(model.bank.experts[0])[-1]
    dense.enable_lora(2)
    dense.lora_kernel_b.assign(np.ones(dense.lora_kernel_b.shape))
    dense.quantize(mode)


@pytest.mark.parametrize(
    ("quantize", "mode", "way"),
    [
        pytest.param(quantize_all, "int8", "keras", marks=pytest.mark.once),
        (quantize_an_expert, "int4", "keras"),
        pytest.param(quantize_an_expert, "float8", "keras", marks=pytest.mark.once),
        pytest.param(quantize_a_layer_with_lora, "int8", "keras", marks=pytest.mark.once),
        (quantize_a_layer_with_lora, "int8", "safetensors"),
    ],
)
def test_quantization(quantize, mode, way, tmp_path):
    model = mixture()
    quantize(model, mode)
    if way == "keras":
        again = saved(model, tmp_path)
    else:
        again = SingleGatedMoE.from_config(model.get_config())
        save_weights(model, tmp_path / "x.safetensors")
        load_weights(again, tmp_path / "x.safetensors")
    assert state(again) == state(model)
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


def test_a_quantized_classifier_is_a_quantized_mixture():
    classifier = tiny_classifier()
    classifier.get_layer("logits").quantize("float8")
    expected = classifier.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(upcycle(classifier, "relu0").predict(IMAGES, verbose=0), expected, atol=1e-4)


def test_numbers_and_functions_of_layers(tmp_path):
    model = mixture(dropout=0.5)
    dropout = next(layer for layer in inner_layers(model) if isinstance(layer, layers.Dropout))
    dropout.rate = 0.1
    model.get_layer("top_k").temperature = 2.0
    kernels(model)[-1].activation = keras.activations.tanh
    again = saved(model, tmp_path)
    assert next(layer for layer in inner_layers(again) if isinstance(layer, layers.Dropout)).rate == 0.1
    assert again.get_layer("top_k").temperature == 2.0
    assert kernels(again)[-1].activation is keras.activations.tanh


@pytest.mark.parametrize(
    ("make", "layer", "name"),
    [
        (mixture, "early_exit", "threshold"),
        (mixture, "top_k", "drop_below"),
        (lambda: mixture(system="hydranet"), "top_k", "drop_below"),
    ],
)
def test_thresholds(make, layer, name, tmp_path):
    model = make()
    setattr(model.get_layer(layer), name, 0.25)
    again = saved(model, tmp_path)
    for other in (again, type(model).from_config(model.get_config()), keras.models.clone_model(model)):
        assert getattr(other.get_layer(layer), name) == 0.25
    assert again.get_config() == model.get_config()


def compiled(model, **kwargs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, **kwargs)
    return model


def frozen(model):
    model.get_layer("trunk").trainable = False


def lora(model):
    for layer in kernels(model):
        layer.enable_lora(2)


@pytest.mark.parametrize("prepare", [pytest.param(frozen, marks=pytest.mark.once), lora])
def test_training_goes_on(prepare, tmp_path):
    # PyTorch's dropout draws from a generator that belongs to no model, and Keras from it when it builds a model.
    model = mixture(dropout=0.0 if keras.backend.backend() == "torch" else 0.5, top_k=2)
    prepare(model)
    compiled(model)
    model.fit(IMAGES, LABELS, batch_size=4, shuffle=False, verbose=0)
    again = saved(model, tmp_path)
    assert int(again.optimizer.iterations) == 2
    for network in (model, again):
        network.fit(IMAGES, LABELS, batch_size=4, shuffle=False, verbose=0)
    for one, other in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(other), ops.convert_to_numpy(one), atol=1e-6)
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_allclose(other.numpy(), one.numpy(), atol=1e-6)


def test_an_optimizer_keeps_the_variables_it_had(tmp_path):
    model = compiled(mixture())
    model.fit(IMAGES, LABELS, verbose=0)
    frozen(model)
    again = saved(model, tmp_path)
    assert len(again.trainable_variables) == len(model.trainable_variables)
    for one, other in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(other), ops.convert_to_numpy(one))


@pytest.mark.once
def test_compiled_but_never_trained(tmp_path):
    again = saved(compiled(mixture(), metrics=["accuracy"]), tmp_path)
    assert again.evaluate(IMAGES, LABELS, verbose=0, return_dict=True).keys() == {"loss", "accuracy"}


def test_the_policy_it_was_made_under(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = mixture()
    keras.config.set_dtype_policy("float32")
    again = saved(model, tmp_path)
    assert state(again) == state(model)
    assert "bfloat16" in {layer.compute_dtype for layer in kernels(again)}


def test_a_file_without_the_extra_state_still_loads(tmp_path):
    import h5py

    model = mixture()
    model.save_weights(tmp_path / "x.weights.h5")
    with h5py.File(tmp_path / "x.weights.h5", "r+") as file:
        del file["_remainder"]
    again = mixture()
    again.load_weights(tmp_path / "x.weights.h5")
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


def other_expert(model):
    model.bank.experts[1] = keras.Sequential([keras.Input((4, 4, 8)), layers.Flatten(), layers.Dense(5)])


def one_expert_less(model):
    del model.bank.experts[1]


def another_quantization(model):
    kernels(model)[-1].quantize(config=keras.quantizers.GPTQConfig(dataset=None, tokenizer=None))


@pytest.mark.once
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_expert, "'experts/expert_1' is now Sequential"),
        (one_expert_less, "is now Ensembler"),
        (another_quantization, "'experts/expert_1/expert_1_logits' is quantized to 'gptq'"),
    ],
)
def test_what_cannot_be_kept_is_refused_when_it_is_saved(change, message, tmp_path):
    model = mixture()
    change(model)
    with pytest.raises(ValueError, match=f"{message}.*save_weights"):
        model.save(tmp_path / "model.keras")


def test_an_expert_in_place_of_one_like_it_is_saved(tmp_path):
    model = mixture()
    model.bank.experts[1] = keras.models.clone_model(model.bank.experts[0])
    again = saved(model, tmp_path)
    np.testing.assert_array_equal(again.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


@pytest.mark.once
def test_settings_of_another_model_are_refused():
    config = {**mixture().get_config(), "settings": {"1000 Dense": {"trainable": False}}}
    with pytest.raises(ValueError, match="1000 Dense"):
        SingleGatedMoE.from_config(config)


def test_a_copy_in_another_dtype_keeps_what_was_set():
    classifier = tiny_classifier()
    classifier.get_layer("conv0").trainable = False
    classifier.get_layer("logits").enable_lora(1, lora_alpha=4)
    classifier.get_layer("logits").lora_kernel_b.assign(np.ones((1, 5)))
    model = upcycle(classifier, "relu0", num_experts=2, dtype="mixed_bfloat16")
    assert not model.get_layer("trunk").get_layer("conv0").trainable
    assert {layer.compute_dtype for layer in kernels(model.bank)} == {"bfloat16"}
    expected = classifier.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(model.predict(IMAGES, verbose=0), expected, atol=0.02 * abs(expected).max())


@pytest.mark.once
def test_a_frozen_copy_of_what_learns_learns_again():
    source, target = tiny_classifier(), tiny_classifier()
    target.trainable = False
    copy_state(source, target)
    assert all(layer.trainable for layer in inner_layers(target))
    assert len(target.trainable_variables) == len(source.trainable_variables) > 0
