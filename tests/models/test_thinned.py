"""Dense networks and mixtures of a backbone with fewer blocks in a stage."""

import numpy as np
import pytest

from keras_moe import models
from keras_moe.models import backbones
from keras_moe.models.growth import grow_from

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


def test_a_base_on_fewer_pixels_beside_whole_experts():
    dense = models.Classifier(**SMALL)
    mixture = models.SingleGatedMoE(
        **SMALL, num_experts=2, base_size=4, blocks=(1, 1, 1, 1), expert_blocks=(1, 2, 1, 2), threshold=1.0
    )
    mixture.init_from_classifier(dense)
    images = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
    expert = models.Classifier(**SMALL, blocks=(1, 2, 1, 2), classifier_activation=None)
    grow_from(expert, dense)
    small = {**SMALL, "input_shape": (4, 4, 3), "blocks": (1, 1, 1, 1)}
    base = models.Classifier(**small, classifier_activation=None)
    grow_from(base, dense)
    quarters = images.reshape(3, 4, 2, 4, 2, 3).mean((2, 4))  # what a bilinear layer makes of twice the size
    outputs = mixture.expert_outputs().predict(images, verbose=0)
    np.testing.assert_allclose(outputs["base"], base.predict(quarters, verbose=0), atol=1e-4)
    for k in range(2):
        np.testing.assert_allclose(outputs["experts"][:, k], expert.predict(images, verbose=0), atol=1e-4)
    with pytest.raises(ValueError, match="of 5 classes"):
        mixture.init_from_classifier(models.Classifier(**{**SMALL, "classes": 7}))
    macs = mixture.macs_by_part()
    assert macs["experts"] == [expert.macs_total] * 2
    assert macs["base"] == base.macs_total
    mixture.threshold = 0.0  # all exit: the experts cost nothing
    assert mixture.mean_macs(images=images) == macs["base"] + macs["gate"]


@pytest.mark.parametrize(
    ("options", "named"),
    [({"base_size": 4, "split_at": 2}, "split_at"), ({"expert_blocks": (1, 1, 1, 1)}, "expert_blocks"),
     ({"base_size": 0}, "base_size")],
)  # fmt: skip
def test_arguments_of_another_form_are_told(options, named):
    with pytest.raises(ValueError, match=named):
        models.SingleGatedMoE(**SMALL, num_experts=2, **options)


def test_branches_thinned_stage_by_stage():
    model = models.HydraNet(**SMALL, num_experts=2, split_at=1, branch_blocks=(9, 1, 2, 1))
    assert blocks_of(model.bank.experts[1]) == [
        f"branch_1_stage{stage}_block{block}_project" for stage, block in ((1, 0), (2, 0), (2, 1), (3, 0))
    ]
    with pytest.raises(ValueError, match="branch_blocks"):
        models.HydraNet(**SMALL, branch_blocks=(1, 0, 1, 1))


def test_thinned_by_hand():
    spec = backbones.thinned(backbones.get("resnet20"), (1, 3, 7))
    assert [stage.blocks for stage in spec.stages] == [1, 3, 3]
    assert [stage.filters for stage in spec.stages] == [16, 32, 64]


@pytest.mark.parametrize("blocks", [(1, 1), (1, 0, 1, 1), (1, 1, 1, 1, 1), 2, "1111"])
def test_blocks_that_do_not_fit(blocks):
    with pytest.raises(ValueError, match="blocks"):
        models.Classifier(**SMALL, blocks=blocks)
