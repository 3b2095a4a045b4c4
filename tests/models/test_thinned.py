"""Dense networks and mixtures of a backbone with fewer blocks in a stage."""

import numpy as np
import pytest

from keras_moe import models
from keras_moe.models import backbones

pytestmark = pytest.mark.once
SMALL = {"input_shape": (8, 8, 3), "backbone": "litenet", "alpha": 0.5, "classes": 5}


def blocks_of(network):
    return [layer.name for layer in network.layers if layer.name.endswith("_project")]


def test_blocks_after_the_first_are_left_out():
    full, thin = models.Classifier(**SMALL), models.Classifier(**SMALL, blocks=(1, 1, 2, 9))
    assert blocks_of(full.get_layer("backbone")) == [
        f"stage{stage}_block{block}_project"
        for stage, block in ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1))
    ]
    assert blocks_of(thin.get_layer("backbone")) == [
        f"stage{stage}_block{block}_project" for stage, block in ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0), (3, 1))
    ]
    assert models.Classifier.from_config(thin.get_config()).count_params() == thin.count_params() < full.count_params()


def test_a_mixture_of_a_thinned_base_predicts_as_it():
    base = models.Classifier(**SMALL, blocks=[1, 1, 1, 1])
    mixture = models.SingleGatedMoE(**SMALL, blocks=[1, 1, 1, 1], split_at=2, num_experts=2)
    mixture.init_from_classifier(base)
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3))
    np.testing.assert_allclose(mixture.predict(images, verbose=0), base.predict(images, verbose=0), atol=1e-5)
    assert blocks_of(mixture.bank.experts[1]) == ["expert_1_stage2_block0_project", "expert_1_stage3_block0_project"]


def test_thinned_by_hand():
    spec = backbones.thinned(backbones.get("resnet20"), (1, 3, 7))
    assert [stage.blocks for stage in spec.stages] == [1, 3, 3]
    assert [stage.filters for stage in spec.stages] == [16, 32, 64]


@pytest.mark.parametrize("blocks", [(1, 1), (1, 0, 1, 1), (1, 1, 1, 1, 1), 2, "1111"])
def test_blocks_that_do_not_fit(blocks):
    with pytest.raises(ValueError, match="blocks"):
        models.Classifier(**SMALL, blocks=blocks)
