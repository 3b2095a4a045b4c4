"""The pictures and the page of insights, the data they are made from, and the command that writes it."""

import base64
import dataclasses
import io
import pathlib
import re
import runpy
import sys
import xml.etree.ElementTree

import numpy as np
import pytest
from PIL import Image

from keras_moe import insights, zoo
from keras_moe.cli import main
from keras_moe.datasets import digits
from keras_moe.insights import Samples
from keras_moe.insights.plots import style
from keras_moe.insights.report import shared

pytestmark = pytest.mark.once

NAME = "test_single_gated"
EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "insights.py"


def title(figure):
    return figure.get_suptitle() or figure.axes[0].get_title()


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_usage_picture():
    figure = insights.plot_usage(insights.expert_usage([[1.0, 0], [0.4, 0.6], [1, 0], [0, 0]]))
    assert title(figure) == "Expert 0 runs for 75.0% of the images, expert 1 for 25.0%; no expert runs for 25.0%"
    assert texts(figure) == ["75.0%", "25.0%", "25.0%"]


def test_class_picture_groups_classes_by_their_main_expert():
    table = np.array([[0.1, 0.9], [0.4, 0.0], [np.nan, np.nan], [0.5, 0.5], [0.8, 0.2]])
    figure = insights.plot_class_by_expert(table, ["owl", "fox", "elk", "emu", "$a$" + "x" * 30])
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == [r"\$a\$" + "x" * 20 + "…", "emu", "fox", "owl"]
    assert title(figure) == "Expert 0 has the largest weight for 3 of 4 classes"
    figure.savefig(io.BytesIO())


def test_agreement_pictures():
    cases = insights.agreement(np.array([[0, 1, 1, 1], [0, 2, 2, 2]]), np.array([0, 1, 1, 0]))
    figure = insights.plot_agreement(cases, np.array([True, True, False, False]))
    assert title(figure) == "All experts agree on 25.0% of the images; no expert gives the model's prediction on 25.0%"
    assert texts(figure) == [
        "25.0% of the images, 100.0% of them right",
        "50.0% of the images, 50.0% of them right",
        "0.0% of the images",
        "25.0% of the images, 0.0% of them right",
    ]
    pixels = insights.Agreement(*(mask.reshape(*mask.shape[:-1], 2, 2) for mask in dataclasses.astuple(cases)))
    figure = insights.plot_agreement_map(np.zeros((6, 6, 3), "uint8"), pixels)
    assert title(figure) == "All experts agree in 25.0% of the pixels; no expert gives the model's prediction in 25.0%"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["perfect, 25.0%", "normal 0, 50.0%", "normal 1, 0.0%", "critical, 25.0%"]
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), [[0, 1], [1, 3]])


def test_gate_maps_picture():
    weights = np.array([[[0.9, 0.1], [0.6, 0.4]], [[0.2, 0.8], [0.7, 0.3]]])
    figure = insights.plot_gate_maps(np.zeros((8, 8, 1)), weights)
    assert title(figure) == "Expert 0 has the largest weight in 75.0% of the pixels"
    assert [axes.get_title() for axes in figure.axes[1:3]] == [
        "expert 0: mean weight 0.60",
        "expert 1: mean weight 0.40",
    ]


def test_pictures_of_certainty():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    figure = insights.plot_reliability(insights.reliability(probabilities, [0, 0, 1]))
    assert title(figure) == "Confidence and accuracy are 26.7 points apart on average (ECE, 15 bins)"
    wrong = np.array([True, False, False, False, False])
    curves = {
        name: insights.risk_coverage(values, wrong) for name, values in {"a": range(5), "b": range(5, 0, -1)}.items()
    }
    assert title(insights.plot_risk_coverage(curves)).splitlines() == [
        "Without its 20% least sure predictions it errs on 0.0% instead of 20.0%",
        "(by b, the best of these measures)",
    ]


def test_favourites_picture():
    weights = np.array([[0.9, 0], [0.8, 0], [0.7, 0]])
    figure = insights.plot_favourites(np.zeros((3, 4, 4, 3)), weights, 2, ["cat", "cat", "dog"])
    assert title(figure) == "An expert's 2 favourites show 1.0 of 2 classes on average"
    assert [axes.get_xlabel() for axes in figure.axes] == ["cat\n0.90", "cat\n0.80", "", ""]
    assert figure.axes[2].get_ylabel() == "expert 1\nnever ran"


@pytest.fixture(scope="module")
def seen():
    """A model, its card, digits and its predictions; one class is named to break out of HTML and of formulas."""
    model, card, (images, labels) = zoo.load(NAME), zoo.card(NAME), digits()[1]
    card = dataclasses.replace(card, classes=("<b>&$_$", *card.classes[1:]))
    return (
        model,
        card,
        Samples(images[:40], labels[:40], "40 <digits>"),
        insights.collect_expert_predictions(model, images[:40]),
    )


def test_page_is_self_contained_and_escaped(seen):
    _, _, samples, predictions = seen
    page = insights.create_classification_report(*seen)
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) >= 6
    for source in sources:
        head, data = source.split(",")
        content = base64.b64decode(data, validate=True)
        if head == "data:image/svg+xml;base64":
            assert not re.search(rb"<script|<foreignObject|href=.https?:", content)
            xml.etree.ElementTree.fromstring(content)
        else:
            assert head == "data:image/png;base64"
            Image.open(io.BytesIO(content)).verify()
    text = re.sub(r'src="[^"]*"', "", page)
    assert not re.search(r"https?:|<script|<link|<iframe|@import|url\(|href", text)
    assert "<b>&$" not in text
    assert "&lt;b&gt;&amp;$_$" in text
    assert "40 &lt;digits&gt;" in text
    right = (predictions.probabilities.argmax(-1) == samples.labels).mean()
    assert f"<b>{right:.1%}</b>right" in text
    assert all(word in text for word in ("Where they disagree", "ECE", "By disagreement of the experts alone"))


def test_names_of_every_script_are_text_that_the_browser_draws():
    names = ["猫", "ねこ", "고양이", "बिल्ली", "قطة", "แมว", "<b>&"]
    figure = insights.plot_confusion(np.eye(7, dtype=int), names)
    source = shared.svg(figure)  # without a warning of glyphs
    words = xml.etree.ElementTree.fromstring(base64.b64decode(source.split(",")[1])).itertext()
    assert set(names) <= set(words)
    assert [style.plain(text, 6) for text in ("猫猫猫", "猫猫猫猫", "katze!", "kätzchen")] == [
        "猫猫猫", "猫猫…", "katze!", "kätzc…"
    ]  # fmt: skip


def test_page_without_labels_does_not_speak_of_right_or_wrong(seen):
    model, card, samples, predictions = seen
    page = insights.create_classification_report(model, card, dataclasses.replace(samples, labels=None), predictions)
    text = re.sub(r'src="[^"]*"', "", page)
    assert "<b>unknown</b>right" in text
    assert "the model&#39;s own predictions" in text
    assert not re.search(r"it is right on|confident by|errs on|surest half", text)
    with pytest.raises(ValueError, match=r"on 40 images\. Received: on 12"):
        insights.create_classification_report(
            model, card, samples, insights.ExpertPredictions(predictions.probabilities[:12], *[None] * 3)
        )


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes, an image each, and a text file."""
    for label in ("3", "7"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        Image.new("L", (9, 12), int(label)).save(tmp_path / "photos" / label / "a.png")
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    return tmp_path / "photos"


def test_folder_with_labels_and_without(photos):
    found = insights.read_samples(photos, zoo.card(NAME))
    assert (found.images.shape, found.labels.tolist(), found.problems) == ((2, 8, 8, 1), [3, 7], ())
    (photos / "3").rename(photos / "three")
    found = insights.read_samples(photos, zoo.card(NAME))
    assert (found.labels.tolist(), found.problems) == (
        [7], (f"three: no class of {NAME}; its 1 images are left out",)
    )  # fmt: skip
    (photos / "7").rename(photos / "seven")
    (photos / "seven" / "cut.png").write_bytes(b"\x89PNG")
    found = insights.read_samples(photos, zoo.card(NAME))
    assert (len(found.images), found.labels, len(found.problems)) == (2, None, 1)


def draw(folder, *names):
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 12), 20 * i).save(folder / name)


def test_data_is_read_as_for_fine_tuning(tmp_path):
    draw(tmp_path / "parts", "train/3/a.png", "test/3/b.png", "test/7/2024/c.png", "val/7/d.png")
    found = insights.read_samples(tmp_path / "parts", zoo.card(NAME))
    assert (found.labels.tolist(), found.source) == ([3, 7], "2 test images in the folder parts")
    draw(tmp_path / "held" / "out", "test/3/b.png", "test/7/c.png")
    assert insights.read_samples(tmp_path / "held", zoo.card(NAME)).labels.tolist() == [3, 7]
    draw(tmp_path / "all" / "photos", "3/a.png", "7/deep/er/b.png")
    (tmp_path / "all" / "photos" / "3" / "a.txt").write_text("of a.png")
    found = insights.read_samples(tmp_path / "all", zoo.card(NAME))
    assert (found.labels.tolist(), found.problems) == ([3, 7], ())
    table = tmp_path / "table.csv"
    table.write_text("path,label\nall/photos/3/a.png,3\nall/photos/7/deep/er/b.png,7\nnone.png,7\n")
    found = insights.read_samples(table, zoo.card(NAME))
    assert (found.labels.tolist(), found.source) == ([3, 7], "2 images in the table table.csv")
    assert found.problems == ("left out: none.png: there is no such file",)
    table.write_text("path,label\nall/photos/3/a.png,three\n")
    with pytest.raises(ValueError, match=rf"labels that are classes of {NAME}.* Received: \['three'\]"):
        insights.read_samples(table, zoo.card(NAME))


IMAGES = np.zeros((3, 8, 8, 1), "uint8")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": IMAGES}, "no 'images'"),
        ({"images": IMAGES[..., 0]}, r"shape \(8, 8, 1\)"),
        ({"images": IMAGES[:0]}, "one image or more"),
        ({"images": np.array(3)}, r"shape \(8, 8, 1\)"),
        ({"images": IMAGES.astype("complex64")}, "complex64"),
        ({"images": IMAGES + 256.0}, r"\[0, 255\]"),
        ({"images": IMAGES + float("nan")}, "nan"),
        ({"images": IMAGES, "labels": np.array([0, 1])}, "one integer label per image"),
        ({"images": IMAGES, "labels": np.array([0.0, 1, 2])}, "float64 labels"),
        ({"images": IMAGES, "labels": np.array([0, 1, 10])}, "0…9"),
        ({"images": IMAGES, "labels": np.array([0, 1, -1])}, "from -1"),
        ({"images": np.array([{"code": "x"}], object)}, "allow_pickle=False"),
    ],
)
def test_bad_npz(arrays, message, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        insights.read_samples(tmp_path / "x.npz", zoo.card(NAME))


def test_good_npz_and_other_data(tmp_path):
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=np.array([0, 1, 9], "uint8"))
    assert insights.read_samples(tmp_path / "x.npz", zoo.card(NAME)).labels.tolist() == [0, 1, 9]
    (tmp_path / "y.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:100])
    (tmp_path / "empty").mkdir()
    for data, message in (("y.npz", "is not an .npz"), ("empty", "none that can be read"), ("none", "Expected DATA")):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            insights.read_samples(tmp_path / data, zoo.card(NAME))
    with pytest.raises(ValueError, match=r"shape \(32, 32, 3\), what hydranet_cifar100 takes"):
        insights.read_samples("digits", zoo.card("hydranet_cifar100"))


def test_command(photos, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["insights", NAME, str(photos), "--out", str(page)]) == 0
    assert capsys.readouterr().out == f"{page}: {NAME} on 2 images in the folder photos\n"
    assert page.read_text().startswith("<!DOCTYPE html>")
    before = page.read_bytes()
    assert main(["insights", NAME, str(tmp_path / "none"), "--out", str(page)]) == 1
    assert "Expected DATA" in capsys.readouterr().err
    assert main(["insights", NAME, "digits", "--out", str(tmp_path / "no" / "page.html")]) == 2
    assert "a folder that exists" in capsys.readouterr().err
    np.savez(tmp_path / "x.npz", images=np.zeros((1, 32, 32, 3), "uint8"))
    assert main(["insights", "resnet14_cifar100", str(tmp_path / "x.npz"), "--out", str(page)]) == 1
    assert "dense network" in capsys.readouterr().err
    assert page.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))


def test_example(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["insights.py", "--out", str(tmp_path / "page.html")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    out = capsys.readouterr().out
    assert (out.count("expert "), "all experts agree on" in out) == (3, True)
    assert "397 test images of digits" in (tmp_path / "page.html").read_text()
