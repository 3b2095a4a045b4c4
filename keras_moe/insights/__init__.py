"""Insights into a mixture: the work of each expert, disagreement between experts, uncertainty.

>>> from keras_moe import insights
>>> predictions = insights.collect_expert_predictions(model, images)
>>> cases = insights.agreement(predictions.expert_labels, predictions.predicted_labels, predictions.route)
>>> insights.plot_agreement(cases, predictions.predicted_labels == labels).savefig("agreement.png")

The functions take plain arrays, of images or of pixels; ``keras-moe insights`` writes a whole page.
"""

from keras_moe.insights.data import read_samples as read_samples
from keras_moe.insights.expert_predictions import ExpertPredictions as ExpertPredictions
from keras_moe.insights.expert_predictions import collect_expert_predictions as collect_expert_predictions
from keras_moe.insights.measures.agreement import Agreement as Agreement
from keras_moe.insights.measures.agreement import agreement as agreement
from keras_moe.insights.measures.agreement import disagreement as disagreement
from keras_moe.insights.measures.routing import Usage as Usage
from keras_moe.insights.measures.routing import accuracy_where_routed as accuracy_where_routed
from keras_moe.insights.measures.routing import class_by_expert as class_by_expert
from keras_moe.insights.measures.routing import expert_usage as expert_usage
from keras_moe.insights.measures.routing import favourites as favourites
from keras_moe.insights.measures.routing import gate_entropy as gate_entropy
from keras_moe.insights.measures.routing import leading_expert as leading_expert
from keras_moe.insights.measures.summary import Summary as Summary
from keras_moe.insights.measures.summary import summarize as summarize
from keras_moe.insights.measures.summary import uncertainty_measures as uncertainty_measures
from keras_moe.insights.measures.uncertainty import Reliability as Reliability
from keras_moe.insights.measures.uncertainty import RiskCoverage as RiskCoverage
from keras_moe.insights.measures.uncertainty import expert_variance as expert_variance
from keras_moe.insights.measures.uncertainty import mutual_information as mutual_information
from keras_moe.insights.measures.uncertainty import predictive_entropy as predictive_entropy
from keras_moe.insights.measures.uncertainty import reliability as reliability
from keras_moe.insights.measures.uncertainty import risk_coverage as risk_coverage
from keras_moe.insights.plots.agreement import plot_agreement as plot_agreement
from keras_moe.insights.plots.agreement import plot_agreement_map as plot_agreement_map
from keras_moe.insights.plots.confusion import plot_confusion as plot_confusion
from keras_moe.insights.plots.confusion import plot_operating_curve as plot_operating_curve
from keras_moe.insights.plots.masks import plot_predicted_masks as plot_predicted_masks
from keras_moe.insights.plots.routing import plot_class_by_expert as plot_class_by_expert
from keras_moe.insights.plots.routing import plot_favourites as plot_favourites
from keras_moe.insights.plots.routing import plot_gate_maps as plot_gate_maps
from keras_moe.insights.plots.routing import plot_routing_weights as plot_routing_weights
from keras_moe.insights.plots.routing import plot_usage as plot_usage
from keras_moe.insights.plots.uncertainty import plot_reliability as plot_reliability
from keras_moe.insights.plots.uncertainty import plot_risk_coverage as plot_risk_coverage
from keras_moe.insights.plots.uncertainty import plot_uncertainty_maps as plot_uncertainty_maps
from keras_moe.insights.report.classification import create_classification_report as create_classification_report
from keras_moe.insights.report.segmentation import create_segmentation_report as create_segmentation_report
from keras_moe.insights.samples import Samples as Samples
from keras_moe.insights.segmentation_predictions import SegmentationPredictions as SegmentationPredictions
from keras_moe.insights.segmentation_predictions import (
    collect_segmentation_predictions as collect_segmentation_predictions,
)
