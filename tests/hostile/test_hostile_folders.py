"""Model folders of strangers: nothing in them runs, nothing outside them is read, and each lie is one clear error."""

import hashlib
import io
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from keras_moe import models, zoo
from keras_moe.zoo.calibration import from_sheet

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The content of a sound folder: file name -> bytes."""
    folder = tmp_path_factory.mktemp("sound") / "sound"
    model = models.HydraNet((8, 8, 3), 0.5, "resnet8", 2, top_k=1, gate_filters=0, classes=3)
    model.get_layer("top_k").temperature = 2.0
    zoo.save(model, folder, calibration=np.zeros((1, 8, 8, 3)))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(sound, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in sound.items():
        (folder / name).write_bytes(data)
    return folder


def edit(folder, old, new):
    card = folder / "card.toml"
    text = card.read_text("utf-8")
    assert old in text
    card.write_text(text.replace(old, new, 1), "utf-8")


def pin(folder, name):
    """Makes the card say what the file is now, as its author could."""
    data = (folder / name).read_bytes()
    head, _, rest = (folder / "card.toml").read_text("utf-8").partition(f'name = "{name}"\n')
    lines = rest.splitlines(keepends=True)[2:]
    own = f'name = "{name}"\nsize = {len(data)}\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'
    (folder / "card.toml").write_text(head + own + "".join(lines), "utf-8")


def test_the_sound_folder_is_sound(folder):
    assert zoo.load(folder).get_layer("top_k").temperature == 2.0
    assert zoo.calibration_images(folder).shape == (1, 8, 8, 3)


@pytest.mark.parametrize("kind", ["a base and experts", "a base on fewer pixels"])
def test_a_mixture_of_copies_is_measured_before_they_are_made(kind, tmp_path):
    options = {"base_size": 4} if kind == "a base on fewer pixels" else {}
    model = models.SingleGatedMoE((8, 8, 3), 0.5, "resnet8", 2, classes=3, **options)
    zoo.save(model, tmp_path / "sound", calibration=np.zeros((1, 8, 8, 3)))
    edit(tmp_path / "sound", "alpha = 0.5", "alpha = 800.0")  # a kernel of a hundred gigabytes
    with pytest.raises(ValueError, match=r"it has .* parameters"):
        zoo.load(tmp_path / "sound")


LIES = {
    "an unknown key": ("[input]", 'run = "rm"\n\n[input]', "run: unknown key"),
    "another type": ("params = ", "params = 1.", "params: expected int"),
    "a class of another package": ('model = "HydraNet"', 'model = "os.system"', "model must be a class"),
    "a function of this package": ('model = "HydraNet"', 'model = "upcycle"', "model must be a class"),
    "a module of this package": ('model = "HydraNet"', 'model = "imagenet"', "model must be a class"),
    "weights by argument": ("num_experts = 2", 'num_experts = 2\nweights = "imagenet"', "config may only hold"),
    "a million experts": ("num_experts = 2", "num_experts = 1000000", "config.num_experts must be at most 256"),
    "an endless network": ('backbone = "resnet8"', 'backbone = "resnet600000002"', "`backbone` must be"),
    "a wide network": ("alpha = 0.5", "alpha = 8000.0", "it has "),
    "a number without end": ("alpha = 0.5", "alpha = inf", "config may hold texts and numbers"),
    "no number": ("alpha = 0.5", "alpha = nan", "config may hold texts and numbers"),
    "a network as an argument": ("alpha = 0.5", 'alpha = {class_name = "Lambda"}', "no HydraNet can be made from"),
    "a deep argument": ("alpha = 0.5", "alpha = [[[[[1]]]]]", "config may hold texts and numbers"),
    "a long argument": ("alpha = 0.5", f"alpha = {list(range(1000))}", "config may hold texts and numbers"),
    "an argument of another type": ('backbone = "resnet8"', "backbone = 3", "no HydraNet can be made from"),
    "another activation": (
        "alpha = 0.5",
        'alpha = 0.5\nclassifier_activation = "os.system"',
        "no HydraNet can be made",
    ),
    "another image": ("shape = [8, 8, 3]", "shape = [9, 8, 3]", "config.input_shape must be input.shape"),
    "a huge image": ("shape = [8, 8, 3]", "shape = [100000, 100000, 3]", "input.shape must be"),
    "more parameters than there are": ("num_experts = 2", "num_experts = 3", "it has "),
    "a path as a name": ('name = "sound"', 'name = "../sound"', "must be plain names"),
    "a path as a baseline": ("[input]", 'baseline = "/etc/passwd"\n\n[input]', "must be plain names"),
    "a path as a file": (
        'name = "weights.safetensors"',
        'name = "../weights.safetensors"',
        "files[0]: Expected a name",
    ),
    "an absolute file": ('name = "weights.safetensors"', 'name = "/etc/passwd"', "files[0]: Expected a name"),
    "a huge file": ("size = ", "size = 9999999", "files[0]: Expected a size"),
    "a setting of no layer": ('attribute = "temperature"', 'attribute = "call"', "has no 'call' that could be 2.0"),
    "a setting of another kind": ("value = 2.0", 'value = "os.system"', "has no 'temperature' that could be 'os.sys"),
    "a setting that is a list": ("value = 2.0", "value = [2.0]", "settings[0].value: expected bool or int or float or"),
    "another quantization": ('attribute = "temperature"', 'attribute = "dtype"', "has no 'dtype' that could be 2.0"),
    "a setting out of range": ("value = 2.0", "value = -2.0", "`temperature` must be a float > 0"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_card_that_lies(lie, folder):
    old, new, message = LIES[lie]
    edit(folder, old, new)
    with pytest.raises(ValueError) as raised:
        zoo.load(folder)
    assert message in str(raised.value)
    assert str(folder) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("weights.safetensors", b"short", "is not the file its card names"),
        ("weights.safetensors", None, "weights.safetensors cannot be read"),
        ("card.toml", None, "card.toml cannot be read"),
        ("card.toml", b"#" * (1 << 20 | 1), "expected at most 1,048,576 bytes. Received: 1,048,577"),
        ("labels.txt", b"a\n", "config.classes must be the number of labels"),
        ("labels.txt", None, "a task of classes needs labels"),
        ("labels.txt", b"a\nb\nc\nd\n", "config.classes must be the number of labels"),
        ("labels.txt", b"a\nb\n\x1b[31mc\n", "each one printable line"),
    ],
)
def test_files_that_are_others(name, data, message, folder):
    (folder / name).unlink() if data is None else (folder / name).write_bytes(data)
    with pytest.raises(ValueError) as raised:
        zoo.load(folder)
    assert message in str(raised.value)


def test_a_byte_that_is_another(folder, sound):
    data = bytearray(sound["weights.safetensors"])
    data[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(data)
    with pytest.raises(zoo.IntegrityError, match="is not the file its card names"):
        zoo.load(folder)


@pytest.mark.parametrize("name", ["card.toml", "labels.txt", "weights.safetensors", "calibration.webp"])
def test_a_link_out_of_the_folder(name, folder, tmp_path):
    (folder / name).rename(tmp_path / "secret")
    (folder / name).symlink_to("../secret")
    read = zoo.calibration_images if name == "calibration.webp" else zoo.load
    with pytest.raises(zoo.IntegrityError, match=r"expected a file of its folder. Received: .*secret"):
        read(folder)


def test_a_link_within_the_folder_and_to_the_folder(folder, tmp_path):
    (folder / "card.toml").rename(folder / "mine.toml")
    (folder / "card.toml").symlink_to("mine.toml")
    (tmp_path / "link").symlink_to(folder)
    assert zoo.card(tmp_path / "link").model == "HydraNet"


@pytest.mark.parametrize("kind", ["pipe", "folder", "circle"])
def test_what_is_no_file(kind, folder):
    path = folder / "weights.safetensors"
    path.unlink()
    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "circle": lambda: path.symlink_to(path.name)}[kind]()
    with pytest.raises(ValueError, match=r"expected a file of its folder|cannot be read"):
        zoo.load(folder)


class Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_a_pickle_is_not_opened(folder, monkeypatch):
    monkeypatch.chdir(folder)
    padding = b" " * (folder / "weights.safetensors").stat().st_size
    (folder / "weights.safetensors").write_bytes(pickle.dumps(Runs()) + padding)
    pin(folder, "weights.safetensors")
    with pytest.raises(ValueError, match="is not a safetensors file"):
        zoo.load(folder)
    assert not (folder / "ran").exists()


def webp(width, height, frames=1):
    buffer = io.BytesIO()
    pictures = [Image.new("RGB", (width, height), (i, 0, 0)) for i in range(frames)]
    pictures[0].save(buffer, "WEBP", lossless=True, save_all=frames > 1, append_images=pictures[1:])
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF\4\0\0\0WEBP",
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        webp(8, 9),
        webp(8, 8, 2),
        webp(4096, 2048),
        webp(64, 8)[:-9],
    ],
)
def test_sheets_that_are_none(data, folder):
    with pytest.raises(zoo.IntegrityError, match=r"expected a sheet of images of 8 x 8\. Received: "):
        from_sheet(data, (8, 8, 3), "a sheet")


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(ValueError, match=r"is not a whole model folder: card\.toml cannot be read"):
        zoo.load(tmp_path)
