"""LiteRT files and their manifests: what strangers export, and what must hold."""

import io
import pathlib
import zipfile

from damage import VALUES, damaged, empty_folder, refusal
from hypothesis import strategies as st

from keras_moe.export import IntegrityError, LiteRTModel
from keras_moe.export.litert import integrity

MODEL = bytes(4) + b"TFL3" + bytes(range(64))
SEALED = integrity.seal(MODEL, {"labels.txt": b"a\nb", "keras_moe.json": b'{"name": "x", "input_shape": [2, 2, 1]}'})
PART = {"name": "trunk", "file": "x.trunk.tflite", "sha256": "0" * 64}
MANIFEST = {"name": "x", "input_shape": [2, 2, 1], "parts": [PART]}


def archives():
    for kind in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        buffer = io.BytesIO(MODEL)
        with zipfile.ZipFile(buffer, "a", kind) as archive:
            archive.writestr("labels.txt", b"a" * 99)
            archive.comment = bytes(integrity.LENGTH)
        yield buffer.getvalue()


def altered(data):
    """Any other byte is refused."""
    with refusal(IntegrityError):
        integrity.unseal(data, "x.tflite")
        assert data == SEALED


def sealed_by_a_stranger(data):
    """Whoever alters a file can write its checksum anew: nothing larger than the file comes of it."""
    with refusal(IntegrityError):
        attached = integrity.unseal(integrity.checksummed(data[: -integrity.LENGTH]), "x.tflite")
        assert sum(map(len, attached.values())) <= len(data)


def manifest(data):
    with refusal(IntegrityError):
        integrity.read_manifest(data, "x.json")


def manifest_by_a_stranger(values):
    with empty_folder() as folder, refusal(ValueError, OSError):
        path = pathlib.Path(folder, "x.json")
        path.write_bytes(integrity.manifest(values))
        LiteRTModel(path)


PARSERS = {
    "LiteRT file": (damaged(SEALED), altered),
    "LiteRT file of a stranger": (damaged(SEALED, *archives()), sealed_by_a_stranger),
    "manifest": (damaged(integrity.manifest(MANIFEST)), manifest),
    "manifest of a stranger": (
        st.fixed_dictionaries({
            "name": st.just("x") | VALUES,
            "input_shape": st.just([2, 2, 1]) | VALUES,
            "parts": VALUES | st.lists(st.dictionaries(st.sampled_from(sorted(PART)), VALUES), max_size=2),
        }),
        manifest_by_a_stranger,
    ),
}  # fmt: skip
