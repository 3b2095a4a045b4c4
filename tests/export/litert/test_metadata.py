"""The metadata of an exported file, read by the numbers of TensorFlow's public ``metadata_schema.fbs``."""

import struct

import pytest

pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")

from flatbuffers import encode, packer
from flatbuffers.table import Table

from keras_moe import zoo
from keras_moe.export import LiteRTModel
from keras_moe.export.litert.metadata import _metadata

DESCRIBED = {"name": "caf\xe9", "summary": "Ten branches.", "license": "Apache-2.0", "input_shape": [6, 8, 3]}


class Row(Table):
    """A table whose fields are asked for by their number in the schema."""

    def at(self, field):
        offset = self.Offset(4 + 2 * field)
        return offset and self.Pos + offset

    def text(self, field):
        return self.String(self.at(field)).decode()

    def number(self, field, kind):
        return struct.unpack_from(f"<{kind}", self.Bytes, self.at(field))[0] if self.at(field) else 0

    def row(self, field):
        return Row(self.Bytes, self.Indirect(self.at(field)))

    def rows(self, field):
        if not self.at(field):
            return []
        start, length = self.Vector(self.at(field) - self.Pos), self.VectorLen(self.at(field) - self.Pos)
        return [Row(self.Bytes, self.Indirect(start + 4 * i)) for i in range(length)]

    def floats(self, field):
        start, length = self.Vector(self.at(field) - self.Pos), self.VectorLen(self.at(field) - self.Pos)
        return list(struct.unpack_from(f"<{length}f", self.Bytes, start))


def read(outputs, files, takes_pixels=True):
    data = bytes(_metadata(DESCRIBED, outputs, files, takes_pixels))
    assert data[4:8] == b"M001"
    return Row(bytearray(data), encode.Get(packer.uoffset, data, 0))


def test_labels_and_experts_are_linked_to_the_outputs_they_name():
    model = read(["route", "prediction"], {"labels.txt", "experts.txt"})
    assert [model.text(field) for field in (0, 1, 5)] == ["caf\xe9", "Ten branches.", "Apache-2.0"]
    assert [file.text(0) for file in model.rows(6)] == ["keras_moe.json"]
    (graph,) = model.rows(3)
    outputs = {tensor.text(0): [(f.text(0), f.number(2, "b")) for f in tensor.rows(6)] for tensor in graph.rows(3)}
    assert outputs == {"route": [("experts.txt", 2)], "prediction": [("labels.txt", 2)]}  # 2: TENSOR_AXIS_LABELS
    assert list(outputs) == ["route", "prediction"], "in the order of the graph's outputs"


def test_the_image():
    (graph,) = read(["prediction"], set()).rows(3)
    assert [tensor.rows(6) for tensor in graph.rows(3)] == [[]]
    (image,) = graph.rows(2)
    content, (unit,) = image.row(3), image.rows(4)
    assert (image.text(0), content.number(0, "B"), unit.number(0, "B")) == ("image", 2, 1)  # as image, normalized
    properties = content.row(1)
    size = properties.row(1)
    assert (properties.number(0, "b"), size.number(0, "I"), size.number(1, "I")) == (1, 8, 6)  # RGB, width, height
    assert [unit.row(1).floats(field) for field in (0, 1)] == [[0, 0, 0], [1, 1, 1]]  # mean, std: pixels as they are
    assert [image.row(5).floats(field) for field in (0, 1)] == [[255, 255, 255], [0, 0, 0]]  # max, min


def test_nothing_is_said_of_a_range_that_is_not_known():
    ((image,),) = [graph.rows(2) for graph in read(["prediction"], set(), takes_pixels=False).rows(3)]
    assert "need not be [0, 255]" in image.text(1)
    assert not image.rows(4), "no normalization"
    assert not image.at(5), "no limits"


@pytest.mark.once
def test_published_files_have_the_names_of_today():
    folder = zoo.store.published_folder()
    for path in (*folder.glob("*/routed_*.tflite"), *folder.glob("*/parts_*.json")):
        assert LiteRTModel(path).description.keys() - {"parts"} == {  # it knows outputs by name
            "name", "summary", "license", "paper", "form", "quantize", "trunk_precision", "input_shape", "output_shape",
            "num_experts", "thresholds",
        }, path  # fmt: skip
