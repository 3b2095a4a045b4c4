"""Commands on a model folder: its card, its own images where none are given, and folders of images."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from keras_moe import classify, zoo
from keras_moe.cli import export, predict
from keras_moe.datasets import digits

pytestmark = pytest.mark.once


@pytest.fixture
def fresh():
    """Nothing here leaves state in Keras, and clearing it costs more than these tests."""


@pytest.fixture(scope="module")
def own():
    return digits()[0][0][:16].astype("uint8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, own):
    """A classifier of digits that ends in logits, with 16 images of its own."""
    path = tmp_path_factory.mktemp("models") / "digits"
    zoo.save(zoo.load("test_hydranet", classifier_activation=None), path, calibration=own)
    return path


def test_info(run, folder):
    code, out, err = run("info", folder)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert {"name: digits", "model: HydraNet", "params: 64375", "system: hydranet"} <= set(lines)
    assert not [line for line in lines if line.startswith(("paper", "license", "summary", "baseline"))]
    assert json.loads(run("info", folder, "--json")[1])["name"] == "digits"


def test_predict_with_the_folders_own_images(run, folder, own):
    code, out, err = run("predict", folder, "--json", "--top", 10)
    assert (code, err) == (0, "")
    results = json.loads(out)
    assert [result["image"] for result in results] == [f"calibration image {i}" for i in range(16)]
    expected = zoo.load("test_hydranet").predict(own, verbose=0)
    for result, row in zip(results, expected, strict=True):
        assert dict(result["top"]) == pytest.approx({str(i): p for i, p in enumerate(row)}, abs=1e-5)


def test_predict_on_folders_of_images(run, folder, own, tmp_path):
    for i, name in enumerate(("a.png", "below/b.png", "notes.txt", ".trash/c.png")):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".txt"):
            (tmp_path / "images" / name).write_text("no image")
        else:
            Image.fromarray(own[i, ..., 0]).save(tmp_path / "images" / name)
    code, out, _ = run("predict", folder, tmp_path / "images", "--json", "--top", 1)
    assert code == 0
    assert [result["image"] for result in json.loads(out)] == [
        str(tmp_path / "images" / name) for name in ("a.png", "below/b.png")
    ]
    (tmp_path / "images" / "._a.png").write_text("what a file system keeps of a.png")
    assert len(export._read(tmp_path / "images", (8, 8, 1))) == 2
    (tmp_path / "table.csv").write_text("path,label\nimages/below/b.png,1\n")
    code, out, _ = run("predict", folder, tmp_path / "table.csv", "--json", "--top", 1)
    assert (code, [result["image"] for result in json.loads(out)]) == (0, [str(tmp_path / "images" / "below/b.png")])
    assert len(export._read(tmp_path / "table.csv", (8, 8, 1))) == 1
    (tmp_path / "empty").mkdir()
    code, out, err = run("predict", folder, tmp_path / "empty")
    assert (code, out) == (1, "")
    assert "empty is a folder without images" in err


def test_predict_holds_a_few_images_at_a_time(run, folder, own, tmp_path, monkeypatch):
    held = []
    monkeypatch.setattr(predict, "_BATCH", 3)
    monkeypatch.setattr(classify, "warn_of_fractions", lambda owner, images: held.append(len(images)))
    for i in range(8):
        Image.fromarray(own[i, ..., 0]).save(tmp_path / f"{i}.png")
    (tmp_path / "4.png").write_bytes(b"no image")
    code, out, err = run("predict", folder, tmp_path)
    assert (code, held, err.count("4.png is not an image")) == (1, [3, 3, 1], 1)
    assert [line for line in out.splitlines() if line.endswith(".png")] == [
        str(tmp_path / f"{i}.png") for i in range(8) if i != 4
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("predict", "test_hydranet"), "predict needs an IMAGE: test_hydranet comes without calibration images"),
        (("insights", "test_hydranet"), "insights needs DATA: test_hydranet comes without calibration images"),
        (("info", "."), "is not a whole model folder: card.toml cannot be read"),
        (("info", "hf://me"), "Expected a model as hf://user/repo"),
        (("train", "."), "Unknown recipe '.'"),
    ],
)
def test_what_is_missing(words, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err


def test_insights(run, folder, tmp_path):
    code, out, err = run("insights", folder, "--out", tmp_path / "page.html")
    assert (code, out.strip()) == (0, f"{tmp_path / 'page.html'}: digits on the 16 calibration images of digits"), err
    page = (tmp_path / "page.html").read_text("utf-8")
    assert "64,375 parameters" in page
    assert not re.search(r"after\s*<|terms of the data", page)


def test_export_and_bench_calibrate_with_the_folders_own_images(run, folder, own, tmp_path, monkeypatch):
    received = []

    def litert(model, path, form, quantize, representative_dataset=None, card=None, trunk_precision=None, **_):
        received.append((path.name, form, quantize, representative_dataset, card.name))
        return {
            "files": {path.name: {"bytes": 1}},
            "conditions": 0,
            "trunk_precision": trunk_precision or "float",
            "calibration": None,
            "parity": {},
            "target": {"graphs": {}},
        }

    monkeypatch.setattr("keras_moe.export.litert", litert)
    monkeypatch.setattr(export, "_timed", lambda label, path, images, threads, arguments: [
        {"file": label, "threads": threads, "route": "", "images": len(images), "p50_ms": 1.0, "p95_ms": 2.0}
    ])  # fmt: skip
    code, out, err = run("export", folder, tmp_path / "app.tflite", "--quantize", "int8")
    assert (code, "calibrating with the 16 calibration images of digits" in err) == (0, True)
    assert "trunk: float, since int8 would route some images differently" in out
    code, out, _ = run("export", folder, tmp_path / "app.tflite", "--quantize", "int8", "--trunk-precision", "int8")
    assert (code, "trunk" in out) == (0, False)
    code, out, _ = run("bench", folder, "--threads", 1, "--quantize", "int8")
    assert (code, [line.split("  ")[0] for line in out.splitlines()]) == (0, ["digits routed", "digits dense"])
    assert [name for name, *_ in received] == [
        "app.tflite",
        "app.tflite",
        "0_digits_routed.tflite",
        "1_digits_dense.tflite",
    ]
    for _, _, quantize, images, name in received:
        assert (quantize, name) == ("int8", "digits")
        np.testing.assert_array_equal(images, own)
