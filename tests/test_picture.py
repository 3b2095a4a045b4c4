"""The picture of a routed classification, and the example that draws it."""

import pathlib
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from keras_moe.classify import Classification
from keras_moe.picture import plot_classifications

pytestmark = pytest.mark.once

EXAMPLE = pathlib.Path(__file__).parents[1] / "examples" / "classify_photos.py"
ROUTED = Classification((("cat", 0.75), ("dog", 0.25)), {2: 1.0}, 1.5e6, 6e6)
TWO = Classification((("fox", 0.6), ("owl", 0.4)), {0: 0.25, 3: 0.75}, 3e6, 6e6)
DENSE = Classification((("cat", 0.75), ("dog", 0.25)), {}, 6e6, 6e6)


def texts(figure, row):
    """Of each of the row's four axes: its title and the texts drawn in it."""
    return [
        [axes.get_title(), *(text.get_text() for text in axes.texts)] for axes in figure.axes[4 * row : 4 * row + 4]
    ]


def test_texts(tmp_path):
    figure = plot_classifications([Image.new("RGB", (9, 7)), np.zeros((4, 4), "uint8")], [ROUTED, TWO], experts=4)
    assert texts(figure, 0)[1:] == [
        ["Prediction", "75%", "25%"],
        ["1 of 4 experts ran", "off", "off", "1.00", "off"],
        ["MACs: 25% of the network", "1.5 M", "6.0 M"],
    ]
    assert texts(figure, 1)[1:] == [
        ["Prediction", "60%", "40%"],
        ["2 of 4 experts ran", "0.25", "off", "off", "0.75"],
        ["MACs: 50% of the network", "3.0 M", "6.0 M"],
    ]
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ["cat", "dog"]
    figure.savefig(tmp_path / "a.png", dpi=50)
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.size == (650, 320)  # 13 by 2 * 3.2 inches


def test_grey_is_drawn_grey():
    figure = plot_classifications([np.full((4, 4), 128, "uint8")], [ROUTED], experts=4)
    (drawn,) = figure.axes[0].images
    assert drawn.to_rgba(drawn.get_array())[0, 0, :3] == pytest.approx([128 / 255] * 3, abs=0.01)


def test_a_dense_network_has_no_branches(tmp_path):
    figure = plot_classifications([Image.new("L", (4, 4))], [DENSE], experts=0)
    assert texts(figure, 0)[2:] == [["0 of 0 experts ran"], ["MACs: 100% of the network", "6.0 M", "6.0 M"]]
    figure.savefig(tmp_path / "a.png", dpi=50)


def test_every_image_needs_a_result():
    with pytest.raises(ValueError, match="zip"):
        plot_classifications([Image.new("L", (4, 4))] * 2, [ROUTED], experts=4)


def test_example(tmp_path, monkeypatch, capsys):
    Image.new("RGBA", (30, 20), (0, 0, 0, 0)).save(tmp_path / "white.png")
    for images, count in (([], 2), ([str(tmp_path / "white.png")], 1)):
        out = tmp_path / f"{count}.png"
        monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--model", "test_hydranet", "--out", str(out), *images])
        runpy.run_path(str(EXAMPLE), run_name="__main__")
        printed = capsys.readouterr().out
        assert printed.count("MACs executed: 0.2 M of 0.4 M (53%)") == count
        assert printed.endswith(f"picture: {out}\n")
        with Image.open(out) as saved:
            assert saved.size == (1430, 352 * count)
