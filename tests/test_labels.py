"""Labels come back from a file of lines as they were given, or are refused."""

import keras
import pytest
from descriptors import TINY

from keras_moe.labels import from_lines, is_label, to_lines
from keras_moe.models import Classifier

pytestmark = pytest.mark.once

# Where str.splitlines ends a line: what a naive reader would shift all labels after.
BREAKS = ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


LABELS = ["cat", "great white shark, Carcharodon", "naïve", "猫", "e\u0301", "0", "a/b\\c|d", '"quoted"']
LABELS += ["می\u200cخواهم", "👩\u200d🔬"]  # joined by what is not printable


@pytest.mark.parametrize("label", LABELS)
def test_labels_come_back_as_they_are(label):
    assert is_label(label)
    assert from_lines(to_lines([label, "other", label])) == (label, "other", label)


@pytest.mark.parametrize(
    "label",
    ["", " ", " cat", "cat ", "cat\t", "ca\tt", "ca\0t", "\ufeffcat", "cat\xa0", "\ud800", 3, None, b"cat"]
    + [f"zero{end}null" for end in BREAKS],
)
def test_what_is_no_label(label):
    assert not is_label(label)


def test_lines_of_any_system():
    assert from_lines(b"") == ()
    assert from_lines(b"a\nb") == from_lines(b"a\nb\n") == from_lines(b"a\r\nb\r\n") == ("a", "b")
    assert from_lines(b"a\n\nb\n\n") == ("a", "", "b", "")
    assert from_lines("a\x1cb\u2028c\n".encode()) == ("a\x1cb\u2028c",)
    with pytest.raises(UnicodeDecodeError):
        from_lines(b"\xff\n")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (tuple("abcd"), "each of the 5 classes of 'tiny', or none. Received: 4 labels"),
        (tuple("abcdef"), "Received: 6 labels"),
        (("zero\nnull", *"bcde"), r"printable lines of text.*Received: labels=\['zero\\nnull'\]"),
        ((*"abcd", ""), "not empty"),
        ((*"abcd", " e"), "without blanks at their ends"),
        ((*"abcd", 4), "printable lines of text"),
        ("abcde", "a list of str, in the order"),
        ({*"abcde"}, "a list of str, in the order"),
        (dict.fromkeys("abcde"), "a list of str, in the order"),
    ],
)
def test_litert_refuses_labels_that_do_not_fit(labels, message, tmp_path):
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("tensorflow", reason="LiteRT files are converted by TensorFlow")
    from keras_moe.export import litert

    with pytest.raises(ValueError, match=message):
        litert(Classifier(**TINY, name="tiny"), tmp_path / "x.tflite", labels=labels)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="converted on TensorFlow")
def test_a_file_holds_labels_as_they_were_given(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from keras_moe.export import LiteRTModel, litert

    labels = ["crane", "naïve", "猫", "crane", "👩‍🔬"]  # a bird and a machine
    litert(Classifier(**TINY), tmp_path / "x.tflite", labels=iter(labels))
    assert LiteRTModel(tmp_path / "x.tflite").labels == tuple(labels)
