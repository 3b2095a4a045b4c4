"""Cards, names and weights: what strangers send as text and arrays, and what must hold."""

import functools
import json
import pickle
import time

import numpy as np
from damage import NAMES, VALUES, damaged, edited, empty_folder, refusal
from hypothesis import strategies as st

from keras_moe import zoo
from keras_moe.torch_file import read_torch_file
from keras_moe.weights import assign, read_tensors, to_bytes
from keras_moe.zoo import store
from keras_moe.zoo.architecture import check_buildable
from keras_moe.zoo.model_card import CARD, LABELS, card_files, check_name, parse_card
from keras_moe.zoo.sources import find

SECONDS = 60  # of the processors, for the slowest case: a network is made, and its size is counted
ZOO = store.published_folder()
MODELS = ("test_hydranet", "test_segmentation", "test_single_gated", "test_patcher", "test_classsr")
CARDS = {name: (ZOO / name / CARD).read_text("utf-8") for name in MODELS}
TEXTS = st.sampled_from(list(CARDS.values()))
KEYS_OF_CONFIG = "|".join({key for name in MODELS for key in zoo.card(name, check_model=False).config})


def labels_of(name):
    path = ZOO / name / LABELS
    return path.read_bytes() if path.exists() else b""


LABELS_OF_ALL = st.sampled_from([labels_of(name) for name in MODELS])


def card(case):
    """A card that is accepted can be written, and says the same again."""
    text, labels, check_model = case
    with refusal(ValueError):
        read = parse_card(text, labels, CARD, check_model=check_model)
        if check_model:
            files = card_files(read)
            assert parse_card(files[CARD], files.get(LABELS, b""), CARD) == read


def architecture(case):
    """A config that lies is refused without making what it asks for."""
    start = time.process_time()
    with refusal(ValueError):
        check_buildable(parse_card(*case, CARD), "a folder")
    assert time.process_time() - start < SECONDS, "it takes too long"


def name(text):
    """A plain name stays in the cache; any other text is a model, or refused."""
    with refusal(ValueError):
        check_name(text)
        folder = store.cache_path(text, zoo.File(text, 1, "0" * 64)).parents[1]
        assert (folder.name, folder.parent.name) == (text, "keras_moe")
    with refusal(ValueError, ConnectionError), empty_folder():
        find(text).card()


class Variable:
    """As much of a variable as ``assign`` asks for."""

    dtype, shape, value = "float32", (2, 3), np.zeros((2, 3))

    def assign(self, value):
        self.value = value


def weights(data):
    """No array is larger than the file, and none that is not finite is taken."""
    variable = Variable()
    with refusal(ValueError):
        tensors = read_tensors(data, "weights.safetensors")
        assert sum(array.nbytes for array in tensors.values()) <= len(data)
        assign({"a": variable}, tensors, "weights.safetensors", skip=("b/c", "n"))
    assert np.all(np.isfinite(variable.value))


def with_header(table, body):
    text = json.dumps(table).encode(errors="surrogatepass")
    return len(text).to_bytes(8, "little") + text + body


def torch_file(data):
    with refusal(ValueError):
        assert all(isinstance(array, np.ndarray) for array in read_torch_file(data).values())


SOUND_WEIGHTS = to_bytes({"a": np.ones((2, 3), "float32"), "b/c": np.ones(3, "float16"), "n": np.array(7)}, {"k": "v"})
SOUND_TORCH = b"".join(
    pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, {}, [])
)
ENTRY = VALUES | st.fixed_dictionaries({
    "dtype": st.sampled_from(["F32", "F16", "F64", "I8", "BOOL", "BF16", "X"]),
    "shape": st.lists(st.integers(-1, 4), max_size=3),
    "data_offsets": st.lists(st.integers(-1, 24), min_size=2, max_size=2),
})  # fmt: skip
HEADERS = st.builds(
    with_header, st.dictionaries(st.sampled_from(["a", "b/c", "__metadata__"]), ENTRY), st.binary(max_size=48)
)
CONFIGS = TEXTS.flatmap(functools.partial(edited, keys=KEYS_OF_CONFIG))

PARSERS = {
    "card": (
        st.tuples(
            TEXTS.map(str.encode).flatmap(damaged) | TEXTS.flatmap(edited),
            LABELS_OF_ALL | damaged(labels_of(MODELS[0])),
            st.booleans(),
        ),
        card,
    ),
    "architecture": (st.tuples(CONFIGS, LABELS_OF_ALL), architecture),
    "name": (NAMES, name),
    "weights": (damaged(SOUND_WEIGHTS) | HEADERS | st.binary(max_size=64), weights),
    "PyTorch file": (damaged(SOUND_TORCH), torch_file),
}
