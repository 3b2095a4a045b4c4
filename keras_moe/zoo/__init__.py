"""The zoo: published models by name, each with a card.

>>> from keras_moe import zoo
>>> zoo.list_models("hydranet*")
>>> model = zoo.load(zoo.list_models("hydranet*")[0])

Loading runs nothing that came with the weights: the architecture is code of this package, and the weights are named
arrays whose sha256 is checked before they are parsed.

Names and cards are plain data: importing this package and reading cards takes no Keras.
"""

from keras_moe.checks import IntegrityError as IntegrityError
from keras_moe.zoo.listing import card as card
from keras_moe.zoo.listing import list_models as list_models
from keras_moe.zoo.loading import download as download
from keras_moe.zoo.loading import load as load
from keras_moe.zoo.model_card import Card as Card
from keras_moe.zoo.predictions import decode_predictions as decode_predictions
