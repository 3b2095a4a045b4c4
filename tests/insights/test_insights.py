"""Insights: every formula on examples of a few pixels, and what the arrays must be."""

import numpy as np
import pytest
from keras import ops

from keras_moe import insights, models, zoo
from keras_moe.datasets import digits

pytestmark = pytest.mark.once

NAN = float("nan")
ROUTE = np.array([[0.6, 0.4, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
# Per pixel: both right; sides with expert 0; with expert 1; with nobody, who differ; with nobody, who agree.
EXPERTS = np.array([[0, 1, 1, 1, 1], [0, 2, 2, 2, 1]])
PREDICTED = np.array([0, 1, 2, 0, 2])
BINARY = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])


def test_usage():
    usage = insights.expert_usage(ROUTE)
    np.testing.assert_allclose(usage.ran, [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(usage.weight, [1.6 / 3, 0.4 / 3, 0])
    assert usage.none == pytest.approx(1 / 3)


def test_class_by_expert_of_images_and_of_pixels():
    expected = [[0.8, 0.2, 0], [NAN, NAN, NAN], [0, 0, 0]]
    np.testing.assert_allclose(insights.class_by_expert(ROUTE, [0, 0, 2], 3), expected)
    pixels = insights.class_by_expert(ROUTE.reshape(1, 3, 1, 3), np.array([0, 0, 2]).reshape(1, 3, 1), 3)
    np.testing.assert_allclose(pixels, expected)


def test_leading_expert_and_its_accuracy():
    route = np.array([[1.0, 0], [0.7, 0.3], [0.2, 0.8]])
    np.testing.assert_array_equal(insights.leading_expert(ROUTE), [0, 0, -1])
    found = insights.accuracy_where_routed([[0, 1, 1], [0, 0, 2]], [0, 1, 2], route)
    np.testing.assert_allclose(found, [[1, 0.5], [0, 1]])
    nowhere = insights.accuracy_where_routed([[0], [0], [1]], [0], ROUTE[:1])
    np.testing.assert_allclose(nowhere, [[1, 1, 0], [NAN] * 3, [NAN] * 3])


def test_entropies():
    np.testing.assert_allclose(insights.gate_entropy(np.array([[1.0, 0], [0.5, 0.5], [0.25, 0.75]])), [0, 1, 0.8112781])
    four = np.array([[0.25] * 4, [0.5, 0.5, 0, 0], [0, 0, 1.0, 0]])
    np.testing.assert_allclose(insights.predictive_entropy(four), [1, 0.5, 0])
    np.testing.assert_array_equal(insights.gate_entropy(np.ones((3, 1))), [0, 0, 0])
    assert not np.signbit(insights.gate_entropy(np.eye(3))).any()  # 0.0, not -0.0


def test_mutual_information():
    experts = np.array([[[1.0, 0], [1, 0], [0.9, 0.1]], [[1, 0], [0, 1], [0.1, 0.9]]])
    np.testing.assert_allclose(insights.mutual_information(experts), [0, 1, 1 - 0.4689955935892812], atol=1e-9)
    weights = np.array([[0.25, 0.75], [0.25, 0.75], [1, 0]])
    np.testing.assert_allclose(insights.mutual_information(experts, weights), [0, 0.8112781, 0], atol=1e-7)


def test_expert_variance():
    experts = np.array([[[0.8, 0.2], [0.5, 0.5], [0.4, 0.6]], [[0.4, 0.6], [0.5, 0.5], [0.6, 0.4]]])
    np.testing.assert_allclose(insights.expert_variance(experts, [0, 0, 1]), [1, 0, 0.5])
    np.testing.assert_array_equal(insights.expert_variance(experts[:1], [0, 0, 1]), [0, 0, 0])


def test_agreement_of_two():
    found = insights.agreement(EXPERTS, PREDICTED)
    np.testing.assert_array_equal(found.perfect, [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(found.normal, [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0]])
    np.testing.assert_array_equal(found.critical, [0, 0, 0, 1, 1])
    np.testing.assert_array_equal(found.case, [0, 1, 2, 3, 3])
    assert found.shares == {"perfect": 0.2, "normal 0": 0.2, "normal 1": 0.2, "critical": 0.4}
    np.testing.assert_allclose(insights.disagreement(EXPERTS, PREDICTED), [0, 0.5, 0.5, 1, 1])


def test_agreement_of_three_sides_with_the_heaviest_supporter():
    experts = np.array([[1], [1], [2]])
    assert insights.agreement(experts, np.array([1])).case == [1]
    assert insights.agreement(experts, np.array([1]), np.array([[0.2, 0.3, 0.5]])).case == [2]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_cases_partition_all_pixels(count):
    rng = np.random.default_rng(count)
    experts, predicted = rng.integers(0, 3, (count, 2, 30, 20)), rng.integers(0, 3, (2, 30, 20))
    found = insights.agreement(experts, predicted, rng.random((2, 30, 20, count)))
    np.testing.assert_array_equal(found.perfect.astype(int) + found.normal.sum(0) + found.critical, 1)
    assert sum(found.shares.values()) == pytest.approx(1)


def test_reliability():
    found = insights.reliability(BINARY, [0, 1, 1])  # right at 0.9 and 0.6, wrong at 0.7
    assert found.ece == pytest.approx((0.1 + 0.4 + 0.7) / 3)
    assert found.count.nonzero()[0].tolist() == [8, 10, 13]  # 0.6 is the upper end of its bin
    assert found.accuracy[[8, 10, 13]].tolist() == [1, 0, 1]
    assert np.isnan(found.confidence[0])
    assert insights.reliability(np.array([[0.9, 0.1]] * 2), [0, 1]).ece == pytest.approx(0.4)
    assert insights.reliability(np.array([[1.0, 0], [0, 1]]), [0, 1]).ece == 0


def test_risk_coverage():
    found = insights.risk_coverage([0.2, 0.1, 0.3], np.array([True, False, False]))
    np.testing.assert_allclose(found.coverage, [1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(found.risk, [0, 1 / 2, 1 / 3])
    assert found.area == pytest.approx(5 / 18)
    assert [found.at(c) for c in (0.1, 0.5, 1)] == pytest.approx([0, 1 / 2, 1 / 3])


@pytest.mark.parametrize("wrong", [[True, False, False], [False, True, False]])
def test_risk_coverage_does_not_depend_on_the_order_of_ties(wrong):
    found = insights.risk_coverage([0.1, 0.1, 0.3], np.array(wrong))
    np.testing.assert_allclose(found.risk, [1 / 2, 1 / 2, 1 / 3])


def test_favourites():
    first, second = insights.favourites([[0.5, 0], [0.9, 0], [0.5, 0.3]], 2)
    assert (first.tolist(), second.tolist()) == ([1, 0], [2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: insights.expert_usage(np.zeros((0, 3))), "at least one row"),
        (lambda: insights.expert_usage([[NAN, 1]]), "NaN"),
        (lambda: insights.expert_usage([[-1.0, 2]]), "negative"),
        (lambda: insights.class_by_expert(ROUTE, [0, 0, 3], 3), "0…2"),
        (lambda: insights.class_by_expert(ROUTE, [0, -1, 0], 3), "0…2"),
        (lambda: insights.class_by_expert(ROUTE, [0, 0], 3), r"shape \(3,\)"),
        (lambda: insights.class_by_expert(ROUTE, [0.0, 1.0, 2.0], 3), "integers"),
        (lambda: insights.accuracy_where_routed([[0, 0, 0]], [0, 0, 0], ROUTE), r"shape \(3, 3\)"),
        (lambda: insights.gate_entropy(ROUTE), "summing to one"),
        (lambda: insights.favourites(ROUTE, 0), "`count` must be an int >= 1"),
        (lambda: insights.predictive_entropy(np.array([[2.0, -1.0]])), "summing to one"),
        (lambda: insights.predictive_entropy(np.array([[NAN, 1.0]])), "NaN"),
        (lambda: insights.mutual_information(BINARY[None], np.ones((2, 1))), "weights"),
        (lambda: insights.expert_variance(BINARY[None], [0, 1, 2]), "0…1"),
        (lambda: insights.agreement(EXPERTS[:, :4], PREDICTED), r"shape \(2, 5\)"),
        (lambda: insights.agreement(EXPERTS, PREDICTED, np.ones((5, 3))), r"\(5, 2\)"),
        (lambda: insights.agreement(np.zeros((2, 0), int), np.zeros(0, int)), "not empty"),
        (lambda: insights.reliability(BINARY, [0, 1, 255]), "leave out"),
        (lambda: insights.reliability(BINARY, [0, 1]), r"shape \(3,\)"),
        (lambda: insights.risk_coverage([0.1, NAN], np.array([True, False])), "finite"),
        (lambda: insights.risk_coverage([0.1, 0.2], np.array([True])), "one shape"),
        (lambda: insights.risk_coverage([0.1, 0.2], np.array([0, 1])), "bools"),
    ],
)
def test_bad_arrays(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.fixture(scope="module")
def images():
    return digits()[1][0][:12]


def test_expert_predictions_of_a_hydranet(images):
    model = zoo.load("test_hydranet")
    found = insights.collect_expert_predictions(model, images)
    np.testing.assert_allclose(found.probabilities, model.predict(images, verbose=0), atol=1e-5)
    np.testing.assert_allclose(found.gate_probabilities.sum(-1), 1, atol=1e-5)
    assert (found.route.shape, found.expert_probabilities.shape) == ((12, 4), (4, 12, 10))
    features = model.get_layer("stem")(model.get_layer("scaling")(images))
    for k, branch in enumerate(model.bank.experts):
        alone = ops.convert_to_numpy(model.get_layer("combiner")(branch(features)))
        np.testing.assert_allclose(found.expert_probabilities[k], alone, atol=1e-5)
    led = found.expert_probabilities[found.route.argmax(-1), np.arange(12)]  # the chosen expert's
    np.testing.assert_allclose(found.probabilities, led, atol=1e-5)


def test_single_gated_under_a_route_of_your_choice(images):
    model = zoo.load("test_single_gated")
    model.threshold = 0.0  # everybody leaves early
    base = model.predict(images, verbose=0)
    np.testing.assert_allclose(model.predict_with_route(images, np.zeros((12, 3))), base, atol=1e-5)
    assert np.abs(model.predict_with_route(images, np.eye(3)[[1] * 12]) - base).max() > 1e-3
    for bad in (np.ones((12, 4)), np.ones((11, 3)), np.ones(12), np.full((12, 3), NAN), -np.ones((12, 3))):
        with pytest.raises(ValueError, match=r"\(12, 3\)"):
            model.predict_with_route(images, bad)


def test_expert_predictions_of_pixels():
    tiny = {"input_shape": (16, 16, 3), "alpha": 0.25, "backbone": "resnet8", "classes": 3}
    model = models.SegmentationMoE(**tiny, gate_kind="class")
    photos = np.random.default_rng(0).random((2, 16, 16, 3)) * 255
    found = insights.collect_expert_predictions(model, photos)
    assert (found.probabilities.shape, found.route.shape) == ((2, 16, 16, 3), (2, 3, 2))
    logits = model.expert_outputs().predict(photos, verbose=0)["experts"]
    alone = ops.convert_to_numpy(ops.softmax(logits))
    np.testing.assert_allclose(found.expert_probabilities, alone.swapaxes(0, 1), atol=1e-5)
    assert insights.agreement(found.expert_labels, found.predicted_labels).case.shape == (2, 16, 16)


def test_expert_predictions_of_what_has_none(images):
    tiny = {"input_shape": (8, 8, 1), "alpha": 0.25, "backbone": "resnet8", "classes": 3}
    with pytest.raises(ValueError, match="dense network"):
        insights.collect_expert_predictions(models.Classifier(**tiny), images)
    logits = models.SingleGatedMoE(**tiny, num_experts=2, classifier_activation=None)
    with pytest.raises(ValueError, match="at least one image"):
        insights.collect_expert_predictions(logits, images[:0])
    with pytest.raises(ValueError, match="classifier_activation='softmax'"):
        insights.collect_expert_predictions(logits, images)
    poisoned = images.copy()
    poisoned[3] = NAN
    with pytest.raises(ValueError, match="not finite for 1 images, the first of them image 3"):
        insights.collect_expert_predictions(logits, poisoned)
