"""What a fine-tuning begins with: the dense network, and branches that take their weights from it."""

import numpy as np
import pytest

from keras_moe import zoo
from keras_moe.models import Classifier, HydraNet, SingleGatedMoE
from keras_moe.models.growth import grow_from
from keras_moe.training.finetuning import start as start_
from keras_moe.training.finetuning.start import rebuilt, start_from

pytestmark = pytest.mark.once
TINY = {"input_shape": (16, 16, 3), "backbone": "resnet8"}


def test_weights_of_the_dense_network_are_in_every_branch():
    start = start_from(Classifier(**TINY, classes=3), classes=3, size=None, num_experts=2)
    mixture = start.make_mixture()
    grow_from(mixture, start.dense)
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype("float32")
    np.testing.assert_allclose(
        mixture.predict(images, verbose=0), start.dense.predict(images, verbose=0), rtol=1e-4, atol=1e-4
    )
    softmax = rebuilt(mixture, classifier_activation="softmax").predict(images, verbose=0)
    np.testing.assert_allclose(np.log(softmax).argsort(), mixture.predict(images, verbose=0).argsort())


def test_of_branches_the_mean_is_taken():
    mixture, single = HydraNet(**TINY, num_experts=2, classes=3), HydraNet(**TINY, num_experts=1, top_k=1, classes=3)
    first, second = ({v.path.rsplit("branch_", 1)[1][2:]: v for v in b.weights} for b in mixture.bank.experts)
    for name in first:
        first[name].assign(np.full(first[name].shape, 1.0))
        second[name].assign(np.full(first[name].shape, 4.0))
    grow_from(single, mixture)
    assert all(np.all(np.array(w) == 2.5) for w in single.bank.experts[0].get_weights())
    stems = [network.get_layer("stem").get_weights() for network in (single, mixture)]
    assert all(np.array_equal(a, b) for a, b in zip(*stems, strict=True))


def test_branches_without_some_blocks_start_as_a_network_without_them():
    deep = {"input_shape": (32, 32, 3), "backbone": "efficientnet_lite0"}
    start = start_from(Classifier(**deep, classes=3), classes=3, size=None, num_experts=2)
    thin, mixture = start.make_thin(), start.make_mixture()
    assert thin.macs_by_part()["branches"] == mixture.macs_by_part()["branches"][:1]
    assert thin.macs_total < start.dense.macs_total
    assert start_from(Classifier(**TINY, classes=3), classes=3, size=None, num_experts=2).make_thin is None


def test_experts_grow_from_a_start_cut_elsewhere_and_from_the_baseline_of_a_mixture(tmp_path, monkeypatch):
    deep = {"input_shape": (32, 32, 3), "backbone": "efficientnet_lite0", "split_at": 3}
    one_branch = HydraNet(**deep, num_experts=1, top_k=1, classes=4)
    start = start_from(one_branch, classes=3, size=None, num_experts=2)
    splits = [network.get_config()["split_at"] for network in (start.dense, start.make_thin(), start.make_mixture())]
    assert splits == [3, 3, 3]

    dense, mixture = (
        Classifier(**{k: deep[k] for k in ("input_shape", "backbone")}, classes=4),
        HydraNet(**deep, num_experts=2, branch_blocks=1, classes=4),
    )
    grow_from(mixture, dense)
    zoo.save(dense, tmp_path / "dense")
    monkeypatch.setattr(start_, "_published", lambda name: (mixture, name, "", str(tmp_path / "dense")))
    start = start_from("mixture", classes=3, size=None, num_experts=3)
    grown = start.make_mixture().get_config()
    assert (grown["split_at"], grown["branch_blocks"], grown["num_experts"]) == (5, 2, 3)


def test_a_base_on_fewer_pixels_is_no_start():
    model = SingleGatedMoE(**TINY, classes=3, num_experts=2, base_size=4)
    with pytest.raises(ValueError, match="fewer pixels; start from the dense network"):
        start_from(model, classes=3, size=None, num_experts=2)
