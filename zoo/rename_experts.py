"""Calls the number of experts ``num_experts`` in published LiteRT files, once: ``python zoo/rename_experts.py``.

The key stands in the description attached to a file and in the manifests of parts. The model inside a file keeps its
bytes, and must answer random inputs with the same bytes as before.

All of a folder is converted before any of it is written, its card last. What is converted already stays as it is, so
that a run may be stopped and started again.
"""

import dataclasses
import fnmatch
import io
import json
import pathlib
import zipfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from keras_moe import zoo
from keras_moe.export.flatbuffer import tensors
from keras_moe.export.litert import integrity
from keras_moe.export.litert.metadata import DESCRIPTION
from keras_moe.files import write_bytes
from keras_moe.zoo.writing import pin, write_card

KEYS = {"experts": "num_experts"}
TRIALS = 3


def main():
    for folder in sorted(path.parent for path in pathlib.Path(__file__).parent.glob("*/card.toml")):
        convert(folder)


def convert(folder):
    old = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
    new = {name: of_file(data) for name, data in old.items() if name.endswith(".tflite")}
    new |= {name: of_manifest(data, new) for name, data in old.items() if fnmatch.fnmatch(name, "parts_*.json")}
    card = zoo.card(folder.name, check_model=False)
    for file in card.files:
        is_left = new.get(file.name) == old[file.name]  # by a run that was stopped before it wrote the card
        assert is_left or pin(file.name, old[file.name]) == file, f"{folder / file.name} is not what its card pins"
    for name, data in new.items():
        if data != old[name]:
            write_bytes(folder / name, data)
            print(f"{folder.name}/{name}: {len(old[name]):,} -> {len(data):,} bytes", flush=True)
    files = tuple(pin(file.name, {**old, **new}[file.name]) for file in card.files)
    if files != card.files:
        metrics = tuple(of_metric(metric, card.files, files) for metric in card.metrics)
        write_card(dataclasses.replace(card, files=files, metrics=metrics), folder)


def of_file(data):
    """A sealed LiteRT file whose description has the names of today."""
    attached = integrity.unseal(data, "file")
    model = model_of(data)
    assert integrity.seal(model, attached) == data
    if DESCRIPTION not in attached:
        return data
    attached[DESCRIPTION] = json.dumps(of_description(json.loads(attached[DESCRIPTION])), indent=1).encode()
    new = integrity.seal(model, attached)
    if new != data:
        assert model_of(new) == model
        assert outputs(new) == outputs(data)
    return new


def model_of(data):
    """The bytes of the LiteRT model before what is attached to it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return data[: min([archive.start_dir, *(entry.header_offset for entry in archive.infolist())])]


def outputs(model):
    """What a LiteRT model gives for random inputs: a list of dicts, name of an output -> bytes."""
    interpreter, rng = Interpreter(model_content=model), np.random.default_rng(0)
    run = interpreter.get_signature_runner("serving_default")
    trials = [{name: random(detail, rng) for name, detail in run.get_input_details().items()} for _ in range(TRIALS)]
    return [{name: array.tobytes() for name, array in run(**trial).items()} for trial in trials]


def random(detail, rng):
    if detail["dtype"] == np.int8:
        return rng.integers(-128, 128, detail["shape"], "int8")
    scale = 255 if detail["name"].startswith("serving_default_images") else 4
    return rng.uniform(0, scale, detail["shape"]).astype(detail["dtype"])


def of_description(values):
    return {KEYS.get(key, key): value for key, value in values.items()}


def of_manifest(data, files):
    """A manifest of ``files`` (name -> bytes) as ``litert`` writes it today."""
    values = of_description(integrity.read_manifest(data, "manifest"))
    for part in values["parts"]:
        assert tensors(files[part["file"]]) == {side: part[side] for side in ("inputs", "outputs")}
        part["sha256"] = pin(part["file"], files[part["file"]]).sha256
    return integrity.manifest(values)


def of_metric(metric, old, new):
    """A metric of a file or of a manifest's parts whose note begins with their new size."""
    file = metric.name.rpartition(" ")[2]
    if not file.endswith((".tflite", ".json")):
        return metric
    stem = file.partition(".")[0] + "."
    before, after = (sum(file.size for file in files if file.name.startswith(stem)) for files in (old, new))
    assert metric.note.startswith(f"{before:,} bytes;"), metric
    return dataclasses.replace(metric, note=metric.note.replace(f"{before:,}", f"{after:,}", 1))


if __name__ == "__main__":
    main()
