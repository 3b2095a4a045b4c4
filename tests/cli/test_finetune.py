"""``keras-moe finetune``: what the words of the command become, and what is refused before anything is read."""

import pytest

from keras_moe import training

pytestmark = pytest.mark.once


@pytest.fixture
def fresh():
    """Nothing here leaves state in Keras."""


def test_every_option_reaches_the_function(run, tmp_path, monkeypatch):
    received = {}

    class Tuned:
        def text(self):
            return "done"

    def finetune(start, data, out, **options):
        received.update(start=start, data=data, out=out, **options)
        return Tuned()

    monkeypatch.setattr(training, "finetune", finetune)
    code, out, err = run(
        "finetune", "test_hydranet", "photos", tmp_path / "out", "--size", 32, "--epochs", 2, "--minutes", 3,
        "--budget", "4e6", "--dense", "--num-experts", 5, "--most-unreadable", 0.3, "--split-look-alikes",
        "--no-latency", "--seed", 6,
    )  # fmt: skip
    assert (code, out) == (0, "done\n"), err
    assert received == {
        "start": "test_hydranet", "data": "photos", "out": tmp_path / "out", "size": 32, "epochs": 2, "minutes": 3.0,
        "budget": 4e6, "dense": True, "num_experts": 5, "most_unreadable": 0.3, "split_look_alikes": True,
        "latency": False, "seed": 6,
    }  # fmt: skip


def test_out_that_is_taken_or_no_share_is_refused(run, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    code, _, err = run("finetune", "test_hydranet", "photos", tmp_path / "link")
    assert (code, "OUT must be a new folder" in err) == (2, True)
    code, _, err = run("finetune", "test_hydranet", "photos", tmp_path / "out", "--most-unreadable", 30)
    assert (code, "expected a number in [0, 1]" in err) == (2, True)
