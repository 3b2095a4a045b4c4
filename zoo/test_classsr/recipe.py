"""test_classsr: a tiny ClassSR of two FSRCNNs on scikit-learn's two photographs, for tests without a network.

    python zoo/test_classsr/recipe.py --publish

The upper halves of the photographs, at half their size, are learned from, and the lower halves are measured on. A
minute on two CPU cores.
"""

import pathlib

from keras_moe.zoo.publish import main
from keras_moe.zoo.super_resolution import classsr_on_two_photographs

MODEL = classsr_on_two_photographs()

if __name__ == "__main__":
    main(MODEL, pathlib.Path(__file__).parent)
