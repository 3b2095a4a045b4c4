"""The zoo: published models by name, each with a card.

>>> from keras_moe import zoo
>>> zoo.list_models("hydranet*")
>>> model = zoo.load(zoo.list_models("hydranet*")[0])

Loading runs no code from a weights file: the architecture is code of this package, and the weights are named arrays
whose sha256 is checked before they are parsed.

Names and cards are plain data: this package imports no Keras until a model is loaded.
"""

from keras_moe.checks import IntegrityError as IntegrityError
from keras_moe.zoo.calibration import calibration_images as calibration_images
from keras_moe.zoo.listing import list_models as list_models
from keras_moe.zoo.loading import download as download
from keras_moe.zoo.loading import load as load
from keras_moe.zoo.model_card import Card as Card
from keras_moe.zoo.model_card import Data as Data
from keras_moe.zoo.model_card import File as File
from keras_moe.zoo.model_card import Input as Input
from keras_moe.zoo.model_card import Metric as Metric
from keras_moe.zoo.model_card import Setting as Setting
from keras_moe.zoo.predictions import decode_predictions as decode_predictions
from keras_moe.zoo.pushing import push as push
from keras_moe.zoo.saving import save as save
from keras_moe.zoo.sources import card as card
