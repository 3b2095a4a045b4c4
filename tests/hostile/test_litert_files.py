"""LiteRT files of strangers, who can write a checksum, too: refused with a word before the runtime sees them."""

import hashlib
import io
import json
import os
import zipfile

import pytest

pytest.importorskip("ai_edge_litert", reason="needs the extra `litert`")

from keras_moe.export import IntegrityError, LiteRTModel
from keras_moe.export.litert import integrity
from keras_moe.zoo.store import published_folder

pytestmark = pytest.mark.once

MODEL = bytes(4) + b"TFL3" + bytes(range(64))
DESCRIPTION = json.dumps({"name": "x", "input_shape": [2, 2, 1]}).encode()
PART = {"name": "trunk", "file": "x.trunk.tflite", "sha256": "0" * 64}


def sealed(data):
    """``data``, which end in a comment of zeros, with their checksum."""
    return integrity.checksummed(data[: -integrity.LENGTH])


def archive(compression=zipfile.ZIP_STORED, **files):
    stream = io.BytesIO(MODEL)
    with zipfile.ZipFile(stream, "a", compression) as archived:
        for name, data in files.items():
            archived.writestr(name, data)
        archived.comment = bytes(integrity.LENGTH)
    return stream.getvalue()


def changed(data, old, new):
    assert old in data
    return data.replace(old, new)


def misnamed(data, output):
    """A sealed file whose output of the name ``output`` has another."""
    names = (len(name).to_bytes(4, "little") + name + b"\0" for name in (output, output[:-1] + b"x"))
    return sealed(changed(data, *names))


STORED = archive(**{"labels.txt": b"a\nb"})
ENTRY = b"PK\x01\x02\x14\x03\x14\0"  # then two bytes of flags and two of the compression
ARCHIVES = {
    "no archive": MODEL + bytes(integrity.LENGTH),
    "a bomb": archive(zipfile.ZIP_DEFLATED, bomb=bytes(10_000_000)),
    "a size that is a lie": changed(STORED, b"\x03\0\0\0\x03\0\0\0", b"\xff\xff\xff\x7f\xff\xff\xff\x7f"),
    "an unknown compression": changed(
        STORED, b"PK\x01\x02\x14\x03\x14\0\0\0\0\0", b"PK\x01\x02\x14\x03\x14\0\0\0\x63\0"
    ),
    "an encrypted file": changed(STORED, b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"),
    "another file than listed": changed(STORED, b"PK\x03\x04", b"PK\x03\x05"),
    "another content": changed(STORED, b"a\nb", b"a\nc"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives(kind, tmp_path):
    (tmp_path / "x.tflite").write_bytes(sealed(ARCHIVES[kind]))
    with pytest.raises(IntegrityError, match=r"x\.tflite was not written by keras_moe\.export: "):
        LiteRTModel(tmp_path / "x.tflite")


DESCRIPTIONS = [
    None, b"", b"\xff", b"[1]", b"{}", b'{"name": 1, "input_shape": [2, 2, 1]}', b'{"name": "x", "input_shape": "abc"}',
    b'{"name": "x", "input_shape": [2, 2]}', b'{"name": "x", "input_shape": [2, -2, 1]}', b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("description", DESCRIPTIONS)
def test_descriptions(description, tmp_path):
    attached = {} if description is None else {"keras_moe.json": description}
    (tmp_path / "x.tflite").write_bytes(integrity.seal(MODEL, attached))
    with pytest.raises(IntegrityError, match=r"x\.tflite: expected a"):
        LiteRTModel(tmp_path / "x.tflite")


PARTS = [
    None, [], {}, "ab", [1], [{}], [{**PART, "file": 1}], [{**PART, "name": []}], [{**PART, "sha256": None}],
    [{**PART, "file": "../x.trunk.tflite"}], [{**PART, "file": "/etc/passwd"}], [{**PART, "file": ".."}],
    [{**PART, "file": ""}], [{**PART, "file": "a/b"}], [{**PART, "file": "pipe"}],
]  # fmt: skip


@pytest.mark.parametrize("parts", PARTS)
def test_manifests(parts, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    rows = {} if parts is None else {"parts": parts}
    (tmp_path / "x.json").write_bytes(integrity.manifest({"name": "x", "input_shape": [2, 2, 1], **rows}))
    with pytest.raises(IntegrityError, match=r"x\.json: expected |pipe is no file"):
        LiteRTModel(tmp_path / "x.json")


def test_what_the_runtime_cannot_run(tmp_path):
    (tmp_path / "x.tflite").write_bytes(integrity.seal(MODEL, {"keras_moe.json": DESCRIPTION}))
    with pytest.raises(ValueError, match=r"x\.tflite cannot be run by litert: "):
        LiteRTModel(tmp_path / "x.tflite")


@pytest.mark.parametrize("runtime", ["litert", "tflm"])
@pytest.mark.parametrize("output", [b"prediction", b"route"])
def test_outputs_of_other_names(output, runtime, tmp_path):
    """A route that were called otherwise would be none, as of a dense network."""
    if runtime == "tflm":
        pytest.importorskip("tflite_micro", reason="needs the extra `edge`")
    data = (published_folder() / "classsr_fsrcnn_x4" / "routed_int8.tflite").read_bytes()
    (tmp_path / "x.tflite").write_bytes(misnamed(data, output))
    with pytest.raises(ValueError, match=r"x\.tflite cannot be run by \w+: expected the outputs 'prediction'"):
        LiteRTModel(tmp_path / "x.tflite", runtime=runtime)


@pytest.mark.parametrize(("part", "output"), [("head", b"prediction"), ("router", b"route")])
def test_outputs_of_other_names_in_parts(part, output, tmp_path):
    for path in (published_folder() / "classsr_fsrcnn_x4").glob("parts_int8.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file, manifest = tmp_path / f"parts_int8.{part}.tflite", tmp_path / "parts_int8.json"
    file.write_bytes(misnamed(file.read_bytes(), output))
    values = integrity.read_manifest(manifest.read_bytes(), manifest)
    (row,) = (row for row in values["parts"] if row["name"] == part)
    row["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_bytes(integrity.manifest(values))
    with pytest.raises(ValueError, match=r"parts_int8\.json cannot be run by litert: expected the outputs"):
        LiteRTModel(manifest)


def test_parts_without_a_head(tmp_path):
    path = published_folder() / "classsr_fsrcnn_x4" / "parts_int8.json"
    values = integrity.read_manifest(path.read_bytes(), path)
    rows = [row for row in values["parts"] if row["name"] in ("trunk", "router")]
    for row in rows:
        (tmp_path / row["file"]).write_bytes((path.parent / row["file"]).read_bytes())
    (tmp_path / "x.json").write_bytes(integrity.manifest({**values, "parts": rows}))
    with pytest.raises(ValueError, match=r"x\.json cannot be run by litert: 'head'"):
        LiteRTModel(tmp_path / "x.json")
