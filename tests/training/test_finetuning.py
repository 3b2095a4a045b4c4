"""From a folder of pictures to a model folder with a page; killed in between, it ends the same."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import time
import types

import keras
import numpy as np
import pytest
from killed import run_until_saved
from PIL import Image

from keras_moe import zoo
from keras_moe.datasets import read_labelled_files
from keras_moe.models import Classifier, HydraNet, SingleGatedMoE
from keras_moe.models.growth import grow_from
from keras_moe.training import OperatingPoint, finetune, run_stages
from keras_moe.training.features import behind
from keras_moe.training.finetuning import features, measuring, phases, result, timing
from keras_moe.training.finetuning import start as start_
from keras_moe.training.finetuning.features import Part
from keras_moe.training.finetuning.phases import Learning
from keras_moe.training.finetuning.plan import Clock, FineTuningSettings
from keras_moe.training.finetuning.progress import identify
from keras_moe.training.finetuning.start import start_from

pytestmark = pytest.mark.once
milliseconds = timing.milliseconds
TINY = {"input_shape": (16, 16, 3), "backbone": "resnet8"}


def write_tones(folder, count=14):
    """Three classes that a tiny network tells apart: bright, dark, and brighter to the right."""
    rng = np.random.default_rng(0)
    for label, low, rise in (("bright", 160, 0), ("dark", 0, 0), ("ramp", 0, 150)):
        (folder / label).mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(0, 90, (40, 40, 3)) + low + np.linspace(0, rise, 40)[None, :, None]
            Image.fromarray(noise.astype("uint8")).save(folder / label / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return write_tones(tmp_path_factory.mktemp("data") / os.fsdecode(b"t\xf6nes"))  # not UTF-8


@pytest.fixture(autouse=True)
def timed(monkeypatch):
    """To write a LiteRT file takes longer than these trainings."""
    monkeypatch.setattr(result, "milliseconds", lambda model, images: {"routed": 1.5, "dense": 2.0})


def test_a_network_is_timed_by_litert(tmp_path):
    pytest.importorskip("ai_edge_litert")
    took = milliseconds(Classifier(**TINY, classes=2), np.zeros((2, 16, 16, 3), "uint8"))
    assert list(took) == ["routed"]
    assert took["routed"] > 0


def test_without_litert_nothing_is_timed(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert milliseconds(None, None) == {}


def test_a_mixture_is_grown_from_a_dense_network(tones, tmp_path):
    bad = tones / "dark" / os.fsdecode(b"b\xe4d.png")
    bad.write_bytes(b"no picture")
    start = Classifier(**TINY, classes=7)
    before = [np.array(w) for w in start.get_weights()]
    tuned = finetune(start, tones, tmp_path / "out", epochs=3, num_experts=2, seed=1, verbose=False)
    bad.unlink()
    assert all(np.array_equal(a, b) for a, b in zip(before, start.get_weights(), strict=True))
    assert isinstance(tuned.model, HydraNet)
    assert zoo.card(str(tmp_path / "out")).classes == ("bright", "dark", "ramp")
    assert zoo.calibration_images(str(tmp_path / "out")).shape == (6, 16, 16, 3)
    again = zoo.load(str(tmp_path / "out"))
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype("float32")
    np.testing.assert_array_equal(again.predict(images, verbose=0), tuned.model.predict(images, verbose=0))
    np.testing.assert_allclose(again.predict(images, verbose=0).sum(-1), 1, atol=1e-5)
    assert "1.5 ms, 2 ms with every expert: medians of LiteRT" in tuned.page.read_text()
    told = re.findall(r"<td>([^<]*\.png)</td>", tuned.page.read_text())
    assert all(re.fullmatch(r"(bright|dark|ramp)/\d+\.png", name) for name in told)
    assert bool(told) == (tuned.accuracy < 1)
    log = json.loads((tmp_path / "out" / "log.json").read_text())
    assert list(log) == ["dense_head", "dense", "gate", "mixture", "all"]
    assert all(logs[0]["images_per_second"] > 0 and 0 <= logs[0]["data_share"] <= 1 for logs in log.values())
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["accuracy"] == tuned.accuracy
    assert metrics["interval"][0] < tuned.accuracy <= metrics["interval"][1]
    assert metrics["dense"]["accuracy"] == tuned.dense_accuracy
    assert sorted(set(metrics["groups"])) == [0, 1]
    remarks = json.loads((tmp_path / "out" / "remarks.json").read_text())
    assert remarks == [{"path": r"dark/b\xe4d.png", "word": "is not an image", "used": False}]
    page = tuned.page.read_text()
    for text in ("95 % confidence interval", "What it confuses", "Which expert serves which class", "int8"):
        assert text in page
    assert r"t\xf6nes" in page
    assert r"b\xe4d.png" in page
    assert not (tmp_path / "out.run").exists()
    with pytest.raises(FileExistsError, match="is there already"):
        finetune(start, tones, tmp_path / "out")


def test_a_published_mixture_ends_after_an_epoch_where_time_is_over(tones, tmp_path, capsys):
    tuned = finetune("test_hydranet", tones, tmp_path / "out", minutes=1e-4)
    printed = "".join(capsys.readouterr())
    assert "Epoch 1/" in printed
    assert "\b" not in printed  # of a bar, which moves on a terminal alone
    assert isinstance(tuned.model, HydraNet)
    assert tuned.model.output_shape == (None, 3)
    assert zoo.card(str(tmp_path / "out")).license == zoo.card("test_hydranet").license == "Apache-2.0"
    assert tuned.dense_accuracy is None
    log = json.loads((tmp_path / "out" / "log.json").read_text())
    assert {stage: len(logs) for stage, logs in log.items()} == dict.fromkeys(
        ["thin_head", "thin", "gate", "mixture", "all"], 1
    )


def test_a_published_mixture_learns_from_its_baseline(tones, tmp_path, monkeypatch):
    dense = Classifier(**TINY, classes=4)
    mixture = HydraNet(**TINY, num_experts=2, classes=4)
    grow_from(mixture, dense)
    zoo.save(dense, tmp_path / "dense", dtype="float16")
    monkeypatch.setattr(start_, "_published", lambda name: (mixture, name, "", str(tmp_path / "dense")))
    monkeypatch.setattr("keras_moe.training.finetuning.run.check_start", lambda start: None)
    monkeypatch.setattr("keras_moe.training.finetuning.progress.identity", lambda start: start)
    tuned = finetune("mixture", tones, tmp_path / "out", epochs=1, verbose=False)
    log = json.loads((tmp_path / "out" / "log.json").read_text())
    assert {stage: len(logs) for stage, logs in log.items()} == dict.fromkeys(
        ["dense_head", "dense", "gate", "mixture", "all"], 1
    )
    assert 0 <= tuned.dense_accuracy <= 1
    assert "The dense network of the same backbone" in tuned.page.read_text()
    mixture.get_layer("stem").weights[0].assign_add(keras.ops.ones_like(mixture.get_layer("stem").weights[0]))
    assert start_from("mixture", 3, None, 2).dense is None  # another stem, other features


def test_the_gate_learns_the_groups_alone_before_equal_branches_learn(tmp_path):
    model = HydraNet(**TINY, num_experts=2, top_k=1, classes=3, classifier_activation=None)
    grow_from(model, HydraNet(**TINY, num_experts=1, top_k=1, classes=3))
    rest = behind(model, "stem")[1]
    labels, groups = np.arange(60) % 3, np.array([1, 0, 1])
    rng = np.random.default_rng(0)
    features = rng.uniform(0, 1, (60, *rest.input_shape[1:])).astype("float32")
    features[labels == 1, ..., :4] += 2
    part = Part(None, labels, [features])
    recipe = dataclasses.replace(phases.GATE, epochs=10, batch_size=10)
    before = [np.array(w) for w in rest.bank.get_weights()]
    run_stages(rest, [phases.gate_stage(recipe, Learning(part, part, 3, groups))], tmp_path, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, rest.bank.get_weights(), strict=True))
    np.testing.assert_array_equal(rest.route(features).argmax(-1), groups[labels])


def test_a_folder_of_another_kind_is_kept_and_a_slip_leaves_none(tones, tmp_path):
    with pytest.raises(
        ValueError, match=r"Did you mean test_hydranet.* one of: efficientnet_lite0, efficientnet_lite1"
    ):
        finetune("test_hydranett", "not read before", tmp_path / "out", verbose=False)
    with pytest.raises(ValueError, match="the least that HydraNet costs"):
        finetune("test_hydranet", tones, tmp_path / "out", budget=10, verbose=False)
    for name in ("hydranet_photos", "efficientnet_lite0"):
        with pytest.raises(ValueError, match="named like a published model"):
            finetune("test_hydranet", tones, tmp_path / name, verbose=False)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="a link to nowhere"):
        finetune("test_hydranet", tones, tmp_path / "link", verbose=False)
    (tmp_path / "link").unlink()
    (tmp_path / "out.run").mkdir()
    (tmp_path / "out.run" / "diary.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="no fine-tuning's"):
        finetune("test_hydranet", tones, tmp_path / "out", verbose=False)
    assert [path.name for path in (tmp_path / "out.run").iterdir()] == ["diary.txt"]


def test_a_test_part_without_a_class_that_learns_is_refused(tones, tmp_path):
    for part, labels in (("train", ("dark", "ramp")), ("test", ("unknown",))):
        for label in labels:
            shutil.copytree(tones / label.replace("unknown", "bright"), tmp_path / "data" / part / label)
    with pytest.raises(ValueError, match="no images are left for test"):
        finetune("test_hydranet", tmp_path / "data", tmp_path / "out", verbose=False)


def test_a_dense_network_that_is_much_better_is_told():
    tuned = result.FineTuned(None, None, pathlib.Path("out", "report.html"), 0.7, (0.6, 0.8), 1e6, 0.74, 2e6)
    assert "--dense" not in tuned.text()
    assert "keep it, with --dense" in dataclasses.replace(tuned, dense_accuracy=0.76).text()


def test_features_are_asked_about_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(features, "_CHUNK", 4)
    seen = []

    def ask(some):
        seen.append(len(some))
        return some + 1, None

    more, nothing = features.by_chunks(ask, np.arange(10))
    assert (seen, more.tolist(), nothing) == ([4, 4, 2], list(range(1, 11)), None)


def test_every_expert_calibrates():
    assert result._turns(np.array([3, 3, 1, 3, 1])).tolist() == [0, 1, 0, 2, 1]


def test_a_single_gated_mixture_learns_its_base_first(tones, tmp_path, monkeypatch):
    start = SingleGatedMoE(**TINY, num_experts=2, classes=4)
    monkeypatch.setattr(result, "milliseconds", lambda model, images: 1 / 0)
    tuned = finetune(start, tones, tmp_path / "out", epochs=1, verbose=False)
    assert "not measured; keras-moe bench out" in tuned.page.read_text()
    assert isinstance(tuned.model, SingleGatedMoE)
    assert 0 <= tuned.model.threshold <= 1
    assert len(json.loads((tmp_path / "out" / "metrics.json").read_text())["curve"]) == 11


def test_a_dense_network_for_comparison_is_there_whole_or_not_at_all(tones, tmp_path, monkeypatch):
    start, options = Classifier(**TINY, classes=2), {"epochs": 1, "dense": True, "verbose": False}
    with monkeypatch.context() as broken:
        broken.setattr(result, "_page", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            finetune(start, tones, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    tuned = finetune(start, tones, tmp_path / "out", latency=False, **options)
    assert "1.5 ms" not in tuned.page.read_text()
    assert tuned.page == tmp_path / "out" / "report.html"
    assert zoo.card(str(tmp_path / "out")).name == "out"
    assert type(tuned.model) is Classifier
    assert tuned.macs == tuned.model.macs_total
    assert "Which expert" not in tuned.page.read_text()


def tuned_weights(tones, out, **options):
    keras.utils.set_random_seed(3)
    start = Classifier(**TINY, classes=2)
    finetune(start, tones, out, epochs=3, num_experts=2, batch_size=8, verbose=False, **options)
    return (pathlib.Path(out) / "weights.safetensors").read_bytes()


def test_killed_and_called_again_it_ends_the_same(tones, tmp_path):
    expected = tuned_weights(tones, tmp_path / "whole")
    run = "from test_finetuning import tuned_weights; tuned_weights(sys.argv[1], sys.argv[2])"
    run_until_saved(run, "self.folder.name == 'mixture'", tones, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()
    with pytest.raises(ValueError, match="an unfinished fine-tuning with other epochs"):
        finetune(Classifier(**TINY, classes=2), tones, tmp_path / "cut", epochs=2, num_experts=2, batch_size=8)
    (tmp_path / "moved").symlink_to(tones)  # the images by another name, and more time than it was given at first
    assert tuned_weights(tmp_path / "moved", tmp_path / "cut", minutes=1e3) == expected


def test_a_run_is_known_by_its_images_and_start_not_by_their_places(tones, tmp_path, monkeypatch):
    zoo.save(Classifier(**TINY, classes=2), tmp_path / "start")
    (tmp_path / "link").symlink_to(tmp_path / "start")
    monkeypatch.chdir(tmp_path)
    files, run = read_labelled_files(tones), tmp_path / "run"
    for start in ("start", tmp_path / "start", "./link/"):
        identify(run, start, files, FineTuningSettings(minutes=1, budget=1e9))
    identify(run, "link", files, FineTuningSettings(minutes=2, latency=False))
    assert json.loads((run / "run.json").read_text())["minutes"] == 2
    with pytest.raises(ValueError, match=r"other seed\. Remove it, .*; minutes, .*, latency may be others"):
        identify(run, "link", files, FineTuningSettings(seed=1))
    with pytest.raises(ValueError, match="other images"):
        identify(run, "link", read_labelled_files(tones, seed=1), FineTuningSettings())
    with pytest.raises(ValueError, match="other start"):
        identify(run, "test_hydranet", files, FineTuningSettings())


@pytest.mark.parametrize(
    ("start", "options", "message"),
    [
        ("test_hydrant", {}, "Did you mean"),
        ("test_segmentation", {}, "expected a model that classifies"),
        ("test_hydranet", {"dense": True}, "dense=True starts from a backbone or a Classifier"),
        ("test_hydranet", {"budget": 10}, r"the least that HydraNet costs at 8 pixels is [\d,]+ MACs"),
        ("test_hydranet", {"epochs": 0}, "`epochs` must be"),
        ("test_hydranet", {"minutes": 0}, "`minutes` must be"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_learned(tones, tmp_path, start, options, message):
    with pytest.raises(ValueError, match=message):
        finetune(start, tones, tmp_path / "out", verbose=False, **options)
    assert not (tmp_path / "out").exists()


def test_a_result_among_the_classes_is_refused(tones):
    with pytest.raises(ValueError, match="where it would be taken for a class"):
        finetune("test_hydranet", tones, tones / "out")


def test_time_is_shared_among_the_stages_by_hand(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(tmp_path, minutes=1)
    now[0] = 110
    limit = clock.limit("dense")  # 0.4 of the 50 seconds that are left
    assert limit.end == 10 + 20
    limit.set_model(types.SimpleNamespace(stop_training=False))
    for ends, over in ((118, False), (126, True)):  # after 26 seconds another 8 would be too many
        limit.on_epoch_begin(0)
        now[0] = ends
        limit.on_epoch_end(0)
        assert limit.model.stop_training is over
    limit.model.stop_training = False
    for at, over in ((130, False), (131, True)):  # within an epoch
        now[0] = at
        limit.on_train_batch_end(0)
        assert limit.model.stop_training is over
    now[0] = 1000
    assert Clock(tmp_path, minutes=1).limit("all").end == 26 + 34  # another process: the pause does not count


def test_small_sets_are_seen_more_often():
    assert [FineTuningSettings().epochs_for(n) for n in (100, 1_200, 100_000)] == [20, 10, 4]
    assert [FineTuningSettings().views_for(n) for n in (100, 2_000, 100_000)] == [6, 4, 1]
    assert [FineTuningSettings().batch_for(n) for n in (10, 200, 2_000)] == [4, 10, 32]
    assert FineTuningSettings(epochs=7, batch_size=5).epochs_for(100) == 7


def test_classes_that_look_alike_to_the_trunk_share_an_expert():
    noise = np.random.default_rng(0).normal(size=(40, 6, 6, 2))
    labels = np.arange(40) % 4
    features = np.array([0, 5, 0, 5])[labels, None, None, None] + noise
    assert phases.class_groups(features.astype("float16"), labels, 2).tolist() == [0, 1, 0, 1]
    flat = np.concatenate([features, np.zeros_like(features)], axis=-1).astype("float16")  # channels that say nothing
    assert phases.class_groups(flat, labels, 2).tolist() == [0, 1, 0, 1]
    spread = np.array([1, 1, 9, 9])[labels, None, None, None] * noise  # equal means
    assert phases.class_groups(spread, labels, 2).tolist() == [0, 0, 1, 1]


def test_the_knob_is_the_cheapest_within_half_a_point_or_the_best_within_a_budget():
    model = HydraNet(**TINY, num_experts=2, classes=3)
    curve = [OperatingPoint(v, macs, q, (), 0.0) for v, macs, q in ((0, 9, 0.9), (0.2, 7, 0.896), (0.5, 5, 0.8))]
    measuring.fit_budget(model, curve, None)
    assert model.drop_below == pytest.approx(0.2)
    measuring.fit_budget(model, curve, 6.0)
    assert model.drop_below == pytest.approx(0.5)
    measuring.fit_budget(model, curve, 10.0)
    assert model.drop_below == 0
