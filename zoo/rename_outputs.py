"""Gives published LiteRT files, manifests and logs the names of today, once: ``python zoo/rename_outputs.py``.

Outputs of signatures, keys of descriptions and manifests, and metrics in logs that are called as they once were get the
names that ``litert`` and trainings write now. A model is edited in its bytes: a name is written over its old one, a
longer one behind the model, so that no buffer moves; and it must answer random inputs with the same bytes as before.

All of a folder is converted before any of it is written, its card last. What is converted already stays as it is, so
that a run may be stopped and started again.
"""

import dataclasses
import fnmatch
import io
import json
import pathlib
import re
import struct
import zipfile

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers.table import Table

from keras_moe import zoo
from keras_moe.export.flatbuffer import tensors
from keras_moe.export.litert import integrity
from keras_moe.export.litert.metadata import DESCRIPTION
from keras_moe.files import to_json, write_bytes
from keras_moe.zoo.writing import pin, write_card

OUTPUTS = {"predictions": "prediction", "logits": "gate_logits"}
KEYS = {"licence": "license", "gate": "trunk_precision"}
METRICS = {"class": "prediction", "gate": "gate_logits"}
OFFSET = struct.Struct("<I")
METADATA_SUBGRAPHS, METADATA_OUTPUTS, METADATA_NAME = 3, 3, 0  # slots of TFLITE_METADATA's tables: see ``metadata``
TENSOR_MAP_NAME, BUFFER_DATA = 0, 0  # slots of the model's
TRIALS = 8


def main():
    for folder in sorted(path.parent for path in pathlib.Path(__file__).parent.glob("*/card.toml")):
        convert(folder)


def convert(folder):
    old = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    new = {name: of_file(data) for name, data in old.items() if name.endswith(".tflite")}
    new |= {name: of_manifest(data, new) for name, data in old.items() if fnmatch.fnmatch(name, "parts_*.json")}
    new |= {name: of_log(data) for name, data in old.items() if name == "log.json"}
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
    """A sealed LiteRT file with the names of today."""
    attached = integrity.unseal(data, "file")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        model = data[: min([archive.start_dir, *(entry.header_offset for entry in archive.infolist())])]
    assert integrity.seal(model, attached) == data
    if DESCRIPTION in attached:
        attached[DESCRIPTION] = json.dumps(of_description(json.loads(attached[DESCRIPTION])), indent=1).encode()
    renamed = of_model(model)
    if renamed != model:
        assert answers(renamed) == [{OUTPUTS.get(k, k): v for k, v in outputs.items()} for outputs in answers(model)]
    return integrity.seal(renamed, attached)


def of_model(model):
    """The bytes of a LiteRT model whose signatures, and TFLite Metadata, name outputs as today."""
    data = bytearray(model)
    root = schema.Model.GetRootAs(data, 0)
    for signature in map(root.SignatureDefs, range(root.SignatureDefsLength())):
        for output in map(signature.Outputs, range(signature.OutputsLength())):
            rename(data, output._tab, TENSOR_MAP_NAME)
    for entry in map(root.Metadata, range(root.MetadataLength())):
        if entry.Name() == b"TFLITE_METADATA":
            buffer = root.Buffers(entry.Buffer())._tab
            start = buffer.Vector(buffer.Offset(vtable_offset(BUFFER_DATA)))
            (graph,) = rows(Table(data, start + at(data, start)), METADATA_SUBGRAPHS)
            for output in rows(graph, METADATA_OUTPUTS):
                rename(data, output, METADATA_NAME)
    return bytes(data)


def rename(data, table, slot):
    """Writes today's name where ``table`` holds an old one in ``slot``."""
    field = table.Pos + table.Offset(vtable_offset(slot))
    string = field + at(data, field)
    length = at(data, string)
    text = string + OFFSET.size
    name = OUTPUTS.get(data[text : text + length].decode(), "").encode()
    if not name:
        return
    if len(name) <= length:
        data[string : text + length] = OFFSET.pack(len(name)) + name.ljust(length, b"\0")
        return
    data[string : text + length] = bytes(OFFSET.size + length)
    data += bytes(-len(data) % OFFSET.size)
    data[field : field + OFFSET.size] = OFFSET.pack(len(data) - field)
    data += OFFSET.pack(len(name)) + name + bytes(OFFSET.size - len(name) % OFFSET.size)


def rows(table, slot):
    """The tables in the vector that ``table`` holds in ``slot``."""
    offset = table.Offset(vtable_offset(slot))
    start = table.Vector(offset)
    return [Table(table.Bytes, table.Indirect(start + OFFSET.size * i)) for i in range(table.VectorLen(offset))]


def at(data, position):
    return OFFSET.unpack_from(data, position)[0]


def vtable_offset(slot):
    return 4 + 2 * slot


def answers(model):
    """What a LiteRT model gives for random inputs: a list of dicts, name of an output -> bytes."""
    interpreter, rng = Interpreter(model_content=model), np.random.default_rng(0)
    run = interpreter.get_signature_runner("serving_default")
    inputs = run.get_input_details()
    trials = [{name: random(detail, rng) for name, detail in inputs.items()} for _ in range(TRIALS)]
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
    parts = [
        {**part, "sha256": pin(part["file"], files[part["file"]]).sha256, **tensors(files[part["file"]])}
        for part in values["parts"]
    ]
    return integrity.manifest({**values, "parts": parts})


def of_log(data):
    """A log with today's metrics, in the order in which Keras gives them."""
    return to_json(json.loads(data, object_hook=of_epoch))


def of_epoch(values):
    pattern = re.compile(r"(val_|)(class|gate)(_loss|_accuracy)")
    if not any(map(pattern.fullmatch, values)):
        return values
    renamed = {pattern.sub(lambda m: m[1] + METRICS[m[2]] + m[3], key): value for key, value in values.items()}
    first = {key: renamed[key] for key in sorted(renamed) if key.endswith(("_loss", "_accuracy")) or key == "loss"}
    return first | renamed


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
