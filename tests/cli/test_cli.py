"""The command line: what it prints, where, and with which exit code."""

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from keras_moe import zoo
from keras_moe.cli import main
from keras_moe.zoo import predictions, store

pytestmark = pytest.mark.once

MODEL, MACS = "test_hydranet", (193408, 365440)


@pytest.fixture(scope="module")
def digit(tmp_path_factory):
    """A PNG of a digit that the model was not trained on, a 6."""
    path = tmp_path_factory.mktemp("images") / "six.png"
    found = load_digits()
    assert found.target[1449] == 6
    Image.fromarray((found.images[1449] * (255 / 16)).astype("uint8")).save(path)
    return str(path)


def test_list(run):
    code, out, err = run("list", "test_hydra*")
    assert (code, err) == (0, "")
    header, row = out.splitlines()
    assert header.split() == ["name", "system", "data", "metric", "value", "macs_executed", "macs_total", "params"]
    assert row.startswith(f" {MODEL} ")
    accuracy = zoo.card(MODEL).metrics[0].value
    assert row.split()[-8:] == ["accuracy", f"{accuracy:.2%}", "0.19", "M", "0.37", "M", "0.06", "M"]
    assert [line.split()[0] for line in run("list")[1].splitlines()[1:]] == zoo.list_models()


def test_list_json(run):
    (row,) = json.loads(run("list", "test_hydra*", "--json")[1])
    assert (row["name"], row["params"], row["macs_executed"], row["macs_total"]) == (MODEL, 64375, *MACS)


def test_list_without_a_match(run):
    assert run("list", "no*such") == (
        1,
        "",
        "keras-moe: no published model matches 'no*such'; without a pattern all are listed\n",
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("list hydra", 1, "'*hydra*' matches some"),
        ("info hydra", 2, "Did you mean hydranet_cifar100 or hydranet_cifar100_coarse or hydranet_photos or test_"),
        (f"upscale {MODEL} in.png out.png", 2, "upscale takes a model for super-resolution: classsr_fsrcnn_x2, "),
        ("predict test_classsr in.png", 2, "Received: test_classsr, a model for super-resolution"),
        (f"export {MODEL} out.onnx", 2, "OUT must end in .tflite for --form routed. Received: out.onnx"),
        (f"export {MODEL} out.tflite --images none", 2, "expected a folder or a .csv file that exists. Received: none"),
        ("bench none.tflite", 2, "expected a .tflite file or a .json manifest that exists. Received: none.tflite"),
        (f"train {MODEL} --seeds", 2, f"usage: keras-moe train {MODEL}"),
        ("train test_hydra", 2, "Unknown recipe 'test_hydra'. Did you mean test_hydranet?"),
        ("train deeplab_camvid --runs runs", 1, "camvid_train.npz: set KERAS_MOE_DATA to the folder"),
    ],
)
def test_a_wrong_command_says_what_to_do(run, words, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KERAS_MOE_DATA", raising=False)
    found, out, err = run(*words.split())
    assert (found, out) == (code, "")
    assert message in err


def test_info(run):
    code, out, err = run("info", MODEL)
    assert (code, err) == (0, "")
    assert {f"name: {MODEL}", "params: 64375", "classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"} <= set(out.splitlines())
    card = json.loads(run("info", MODEL, "--json")[1])
    assert (card["classes"], card["input"]["shape"]) == (list("0123456789"), [8, 8, 1])


@pytest.mark.parametrize("command", ["info", "predict", "train"])
def test_unknown_model(run, command):
    code, out, err = run(command, "test_hydranut", "x.png")
    assert (code, out) == (2, "")
    assert " 'test_hydranut'. Did you mean test_hydranet?" in err


def test_predict(run, digit):
    code, out, err = run("predict", MODEL, digit, "--top", 3)
    assert (code, err) == (0, "")
    path, first, *others, branch, macs = out.splitlines()
    assert (path, first.split()[1], len(others)) == (digit, "6", 2)
    assert (branch[:11], branch.count("weight")) == ("  experts: ", 1)
    assert macs == "  MACs: 0.19 M of 0.37 M (53%)"


def test_predict_json_of_the_same_image_twice(run, digit):
    first, second = json.loads(run("predict", MODEL, digit, digit, "--json", "--top", 999)[1])
    assert [name for name, _ in first["top"]] == [name for name, _ in second["top"]]
    assert dict(first["top"]) == pytest.approx(dict(second["top"]), abs=1e-6)
    assert (first["image"], len(first["route"])) == (digit, 1)
    assert (first["macs_executed"], first["macs_total"]) == MACS
    scores = [score for _, score in first["top"]]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-5)


def test_predict_tells_of_bad_files_and_does_the_rest(run, digit, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    code, out, err = run("predict", MODEL, tmp_path / "none.png", digit, tmp_path / "text.png")
    assert code == 1
    assert out.startswith(digit)
    assert err.splitlines()[0] == f"keras-moe: No such image file: {tmp_path / 'none.png'}"
    assert err.splitlines()[1].startswith(f"keras-moe: {tmp_path / 'text.png'} is not an image")
    assert run("predict", MODEL, tmp_path / "none.png")[:2] == (1, "")
    assert run("predict", MODEL, tmp_path / "none.png", "--json")[:2] == (1, "[]\n")


@pytest.mark.parametrize("top", ["0", "-1", "two", "1.5"])
def test_predict_refuses_a_bad_top(run, top):
    code, _, err = run("predict", MODEL, "x.png", "--top", top)
    assert (code, "--top" in err) == (2, True)


def test_json_stays_json_while_downloading(run, digit, tmp_path, monkeypatch):
    source = store.published_folder() / MODEL
    shutil.copytree(source, tmp_path / "zoo" / MODEL, ignore=shutil.ignore_patterns("*.safetensors"))
    monkeypatch.setattr(store, "published_folder", lambda: tmp_path / "zoo")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KERAS_MOE_OFFLINE", raising=False)
    monkeypatch.setenv("KERAS_MOE_MIRROR", source.parent.as_uri())
    code, out, err = run("predict", MODEL, digit, "--json")
    assert (code, len(json.loads(out))) == (0, 1)
    assert "Downloading" in err


def test_train(run, tmp_path):
    before = list(sys.argv)
    code, out, _ = run("train", MODEL, "--epochs", 1, "--runs", tmp_path)
    assert code == 0
    assert f"{MODEL} seed 0: accuracy " in out
    assert (tmp_path / "seed0" / "weights.safetensors").is_file()
    assert run("train", MODEL, "--epochs", "many")[0] == 2
    assert sys.argv == before


def test_names_that_an_ascii_console_cannot_show(digit, tmp_path, monkeypatch):
    card = dataclasses.replace(zoo.card(MODEL), summary="déjà vu", classes=tuple("零一二三四五六七八九"))
    for module in (zoo, predictions):
        monkeypatch.setattr(module, "card", lambda name, **options: card)
    image = shutil.copy(digit, str(tmp_path / "café.png"))

    def run(*words):
        """``main`` on an ASCII console."""
        said = {name: io.TextIOWrapper(io.BytesIO(), "ascii") for name in ("stdout", "stderr")}
        with monkeypatch.context() as console:
            for name, stream in said.items():
                console.setattr(sys, name, stream)
            code = main(words)
        for stream in said.values():
            stream.flush()
        return code, *(stream.buffer.getvalue().decode("ascii") for stream in said.values())

    assert run("list")[::2] == (0, "")
    assert "summary: d\\xe9j\\xe0 vu" in run("info", MODEL)[1]
    code, out, _ = run("predict", MODEL, image, "--top", "1")
    assert (code, "caf\\xe9.png" in out, "\\u516d" in out) == (0, True, True)  # a six
    (found,) = json.loads(run("predict", MODEL, image, "--json")[1])
    assert (found["image"], found["top"][0][0]) == (image, "六")
    code, _, err = run("predict", MODEL, str(tmp_path / "né.png"))
    assert (code, "n\\xe9.png" in err) == (1, True)


@pytest.mark.parametrize("words", [("list",), ("info", MODEL)])
def test_without_an_output(words, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)  # as the shell's `>&-` makes it
    assert main(list(words)) == 0


def test_help(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(word in out for word in ("list", "info", "predict", "train"))


def test_as_a_program():
    command = [sys.executable, "-c", "import sys, keras_moe_cli; sys.exit(keras_moe_cli.main())"]
    read, write = os.pipe()
    os.close(read)  # the reader has gone before anything is printed
    piped = subprocess.run([*command, "list"], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert piped.returncode == 0
    assert "Error" not in piped.stderr
