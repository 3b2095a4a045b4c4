"""test_classsr: a tiny ClassSR of two FSRCNNs on scikit-learn's two photographs, for tests without a network.

    python -m keras_moe.recipes test_classsr --publish

The upper halves of the photographs, at half their size, are learned from, and the lower halves are measured on. A
minute on two CPU cores.
"""

from keras_moe.recipes.shared.super_resolution import classsr_on_two_photographs

RECIPE = classsr_on_two_photographs()
