"""The examples for phones and for the Raspberry Pi: what they name is in a published file, and what runs here runs."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")

from keras_moe.export import LiteRTModel, litert
from keras_moe.images import crops, read_image
from keras_moe.models import Classifier

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[3]
PAGE = (ROOT / "examples" / "mobile.md").read_text("utf-8")
(NAME, FILE) = re.search(r"zoo\.download\('(\w+)', '[\w/]+', '(\w+\.tflite)'\)", PAGE).groups()
PUBLISHED = ROOT / "zoo" / NAME / FILE
PI = ROOT / "examples" / "raspberry_pi.py"
CHINA = next(name for name in load_sample_images().filenames if name.endswith("china.jpg"))
SNIPPETS = dict(re.findall(r"```(kotlin|swift)\n(.*?)```", PAGE, re.DOTALL))


def signature():
    from ai_edge_litert.interpreter import Interpreter

    ((name, tensors),) = Interpreter(str(PUBLISHED)).get_signature_list().items()
    return name, tensors["inputs"], tensors["outputs"]


def test_the_page_names_what_the_file_has():
    name, inputs, outputs = signature()
    kotlin, swift = SNIPPETS["kotlin"], SNIPPETS["swift"]
    assert f'signature = "{name}"' in kotlin
    assert f'"{FILE}"' in kotlin
    assert f"of one signature, {name}, with one input, {inputs[0]}" in swift
    assert re.findall(r'createInputBuffer\("(\w+)"', kotlin) == inputs
    assert re.findall(r'createOutputBuffer\("(\w+)"', kotlin) == outputs
    assert re.findall(r'"(\w+)" to', kotlin) == [*inputs, *outputs]
    assert re.findall(r'read\("(\w+)"\)', swift) == outputs
    assert all(f"`{word}`" in PAGE for word in [name, *inputs, *outputs])
    side = int(re.search(r"side: Int = (\d+)", kotlin)[1])
    assert LiteRTModel(PUBLISHED).description["input_shape"] == [side, side, 3]


def test_the_compiled_model_of_phones_answers_alike():
    from ai_edge_litert.compiled_model import CompiledModel

    name, (images,), outputs = signature()
    model = CompiledModel.from_file(str(PUBLISHED))
    buffers = {output: model.create_output_buffer_by_name(name, output) for output in outputs}
    source = model.create_input_buffer_by_name(name, images)
    for crop in crops((32, 32, 3), 4):
        source.write(crop.ravel())
        model.run_by_name(name, {images: source}, buffers)
        expected = LiteRTModel(PUBLISHED).predict_routed(crop[None])
        for output, array in zip(outputs, expected, strict=True):
            found = buffers[output].read(array.size, np.float32)
            np.testing.assert_allclose(found, array[0], atol=1e-5)


def run_on_pi(*arguments, **options):
    done = subprocess.run([sys.executable, PI, *arguments], capture_output=True, text=True, check=True, **options)
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["hydranet_cifar100", "single_gated_cifar100", "resnet20_cifar100"])
def test_raspberry_pi(name):
    model = LiteRTModel(ROOT / "zoo" / name / FILE)
    (prediction,), routes = model.predict_routed(read_image(CHINA, (32, 32, 3))[None])
    expected = [f"{model.labels[prediction.argmax()]} {prediction.max():.1%}"]
    if routes is not None:
        ran = [f"expert {k} (weight {routes[0, k]:.2f})" for k in np.flatnonzero(routes[0])]
        expected.append(", ".join(ran) or "no expert: the base predicted alone")
    assert run_on_pi(ROOT / "zoo" / name / FILE, CHINA) == expected


def test_raspberry_pi_takes_grey_and_refuses_other_channels(tmp_path):
    grey, four = tmp_path / "grey.tflite", tmp_path / "four.tflite"
    for path, channels in ((grey, 1), (four, 4)):
        model = Classifier((8, 8, channels), 0.25, "resnet8", classes=3)
        litert(model, path, labels=["a", "b", "c"], check_parity=False)
    (prediction,) = LiteRTModel(grey).predict(read_image(CHINA, (8, 8, 1))[None])
    assert run_on_pi(grey, CHINA) == [f"{'abc'[prediction.argmax()]} {prediction.max():.1%}"]
    refused = subprocess.run([sys.executable, PI, four, CHINA], capture_output=True, text=True)
    assert refused.returncode == 1
    assert refused.stderr.endswith(
        f"Expected a model of grey or RGB photographs. Received: {four}, which takes 4 channels\n"
    )


def test_raspberry_pi_with_its_camera(tmp_path):
    camera = tmp_path / "rpicam-still"
    camera.write_text(f'#!/bin/sh\nfor last; do :; done\ncp "{CHINA}" "$last"\n')
    camera.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    taken = run_on_pi(PUBLISHED, cwd=tmp_path, env={**os.environ, "PATH": path})
    assert taken == run_on_pi(PUBLISHED, CHINA)


def test_raspberry_pi_needs_no_keras():
    imported = re.findall(r"^(?:import|from) (\w+)", PI.read_text("utf-8"), re.MULTILINE)
    assert set(imported) - set(sys.stdlib_module_names) == {"numpy", "ai_edge_litert", "PIL"}
