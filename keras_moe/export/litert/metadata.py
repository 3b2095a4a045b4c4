"""TFLite Metadata, the ecosystem's format for the description of a file, which MediaPipe and others read.

Written after the public schema (``metadata_schema.fbs``, version M001), whose field and enum numbers stand below.
"""

import collections.abc
import typing

import numpy as np

from keras_moe.export.flatbuffer import Parsed, new_buffer, packed

LABELS, EXPERTS, DESCRIPTION = "labels.txt", "experts.txt", "keras_moe.json"

_NAME, _TABLE = "TFLITE_METADATA", "M001"
_TENSOR_AXIS_LABELS = 2
_Builder: typing.TypeAlias = typing.Any  # ``flatbuffers.Builder``, which has no types
_COLOURS = {3: 1, 1: 2}  # channels -> ColorSpaceType


def describe(
    data: bytes, described: dict[str, typing.Any], files: collections.abc.Container[str], takes_pixels: bool
) -> bytes:
    """The LiteRT model ``data`` with its metadata inside.

    Args:
        data: a model of one image input, ``(1, height, width, channels)``.
        described: dict with the model's ``"name"``, ``"summary"``, ``"license"`` and ``"input_shape"``.
        files: names of the files that will be appended; labels among them are linked to the outputs they name.
        takes_pixels: whether images are in [0, 255]; otherwise nothing is said of their range.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(data))  # without the converter's empty buffers
    entry = schema.MetadataT()
    content = np.frombuffer(_metadata(described, _outputs(model), files, takes_pixels), "uint8")
    entry.name, entry.buffer = _NAME.encode(), new_buffer(model, content)
    model.metadata = [*(model.metadata or []), entry]
    return packed(model)


def _outputs(model: Parsed) -> list[str]:
    """Names of the outputs, in the order of the main graph's output tensors."""
    names = {tensor.tensorIndex: tensor.name.decode() for tensor in model.signatureDefs[0].outputs}
    return [names[index] for index in model.subgraphs[0].outputs]


def _metadata(
    described: dict[str, typing.Any], outputs: list[str], files: collections.abc.Container[str], takes_pixels: bool
) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    image = _image_tensor(builder, described["input_shape"], takes_pixels)
    tensors = [_output_tensor(builder, output, files) for output in outputs]
    graph = _table(builder, 9, {2: _vector(builder, [image]), 3: _vector(builder, tensors)})
    fields = {
        0: builder.CreateString(described["name"]),
        1: builder.CreateString(described["summary"]),
        3: _vector(builder, [graph]),
        5: builder.CreateString(described["license"]),
        6: _vector(builder, [_file(builder, DESCRIPTION, 1)]),
    }
    builder.Finish(_table(builder, 8, fields), file_identifier=_TABLE.encode())
    return bytes(builder.Output())


def _image_tensor(builder: _Builder, shape: collections.abc.Sequence[int], takes_pixels: bool) -> int:
    height, width, channels = shape
    size = _table(builder, 2, numbers={0: ("Uint32", width), 1: ("Uint32", height)})
    properties = _table(builder, 2, {1: size}, {0: ("Int8", _COLOURS.get(channels, 0))})
    content = _table(builder, 3, {1: properties}, {0: ("Uint8", 2)})  # ImageProperties
    if not takes_pixels:
        words = "Image, in the range that the network was trained on, which need not be [0, 255]."
        return _table(builder, 7, {0: builder.CreateString("image"), 1: builder.CreateString(words), 3: content})
    ones, zeros = [1.0] * channels, [0.0] * channels
    options = _table(builder, 2, {0: _floats(builder, zeros), 1: _floats(builder, ones)})  # (pixel - mean) / std
    unit = _table(builder, 2, {1: options}, {0: ("Uint8", 1)})  # NormalizationOptions
    limits = _table(builder, 2, {0: _floats(builder, [255.0] * channels), 1: _floats(builder, zeros)})
    fields = {
        0: builder.CreateString("image"),
        1: builder.CreateString("Image, values in [0, 255]."),
        3: content,
        4: _vector(builder, [unit]),
        5: limits,
    }
    return _table(builder, 7, fields)


def _output_tensor(builder: _Builder, output: str, files: collections.abc.Container[str]) -> int:
    labels = {"prediction": LABELS, "route": EXPERTS}.get(output)
    attached = [_file(builder, labels, _TENSOR_AXIS_LABELS)] if labels and labels in files else []
    fields = {0: builder.CreateString(output)} | ({6: _vector(builder, attached)} if attached else {})
    return _table(builder, 7, fields)


def _file(builder: _Builder, name: str, kind: int) -> int:
    return _table(builder, 5, {0: builder.CreateString(name)}, {2: ("Int8", kind)})


def _table(
    builder: _Builder,
    slots: int,
    offsets: dict[int, int] | None = None,
    numbers: dict[int, tuple[str, int]] | None = None,
) -> int:
    """A flatbuffer table: ``offsets``, slot -> what lies elsewhere; ``numbers``, slot -> (type, value)."""
    builder.StartObject(slots)
    for slot, offset in (offsets or {}).items():
        builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, (kind, value) in (numbers or {}).items():
        getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
    return int(builder.EndObject())


def _vector(builder: _Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _floats(builder: _Builder, values: list[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())
