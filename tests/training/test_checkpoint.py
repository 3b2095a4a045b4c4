"""The epoch whose weights are kept, and the epoch after which a stage ends, by hand."""

import types

import keras
import numpy as np
import pytest

from keras_moe.training import Checkpoint, Stage
from keras_moe.training.checkpoint import KeepBest

pytestmark = pytest.mark.once
# The accuracy is best in epochs 2, 3 and 5, of which the loss is least in 3; the loss alone is least in epoch 1.
EPOCHS = [(0.5, 1.0), (0.75, 1.4), (0.75, 1.2), (0.5, 1.1), (0.75, 1.3), (0.7, 1.1)]


class Followed:
    """A network of one weight, which is the number of epochs done, and the callback that follows it."""

    def __init__(self, folder, monitor, patience, name="prediction_accuracy", first_loss=2.0):
        self.network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
        self.name, self.ended = name, None
        self.best = KeepBest(Checkpoint(folder), self.network, "one", patience, monitor)
        self.best.set_model(types.SimpleNamespace(stop_training=False))
        evaluated = types.SimpleNamespace(evaluate=lambda *args, **kwargs: {"loss": first_loss, name: 0.1})
        self.set(0)
        self.best.start(evaluated, ())

    def set(self, epochs):
        self.network.set_weights([np.full((1, 1), epochs)])

    def run(self, epochs, first=0):
        """The weight that is taken at the end."""
        for epoch, (accuracy, loss) in enumerate(epochs, first):
            self.set(epoch + 1)
            self.best.on_epoch_end(epoch, {f"val_{self.name}": accuracy, "val_loss": loss, "loss": 0.0})
            if self.best.model.stop_training:
                self.ended = epoch + 1
                break
        self.best.restore()
        return float(self.network.get_weights()[0][0, 0])


@pytest.mark.parametrize("name", ["accuracy", "prediction_accuracy"])
def test_the_most_accurate_epoch_is_kept_and_of_equal_ones_that_of_least_loss(tmp_path, name):
    followed = Followed(tmp_path, "accuracy", 3, name)
    assert followed.run(EPOCHS) == 3
    assert followed.ended == 6


def test_by_loss_it_ends_before_the_accuracy_is_best(tmp_path):
    followed = Followed(tmp_path, "loss", 2)
    assert followed.run(EPOCHS) == 1
    assert followed.ended == 3


def test_what_is_no_number_is_not_kept(tmp_path):
    assert Followed(tmp_path, "accuracy", 2).run([(0.9, float("nan")), (0.0, 3.0)]) == 0


def test_where_nothing_is_a_number_the_last_weights_stay(tmp_path):
    nothing = float("nan")
    assert Followed(tmp_path, "accuracy", 9, first_loss=nothing).run([(0.9, nothing), (0.9, nothing)]) == 2


def test_a_resumed_stage_knows_its_best_epoch(tmp_path):
    Followed(tmp_path, "accuracy", 9).run(EPOCHS[:3])
    again = KeepBest(
        Checkpoint(tmp_path), keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]), "one", 3, "accuracy"
    )
    assert (again.rank, again.epoch) == ((0.75, -1.2), 3)
    assert not again.is_over(5)
    assert again.is_over(6)


def test_of_equal_epochs_the_first_is_kept(tmp_path):
    assert Followed(tmp_path, "accuracy", 9).run([(0.5, 1.0), (0.5, 1.0)]) == 1


def test_the_best_epoch_of_another_stage_does_not_count(tmp_path):
    followed = Followed(tmp_path, "accuracy", 9)
    followed.run(EPOCHS[:3])
    other = KeepBest(Checkpoint(tmp_path), followed.network, "two", 3, "accuracy")
    assert (other.rank, other.epoch) == ((-np.inf, -np.inf), 0)


def test_a_monitor_needs_its_metric():
    common = ("one", ("head",), 1, keras.optimizers.Adam, (), {})
    with pytest.raises(ValueError, match=r"`monitor` must be one of .* Received: monitor='auc'"):
        Stage(*common, monitor="auc")
    with pytest.raises(ValueError, match=r"`monitor` needs metrics=\{'prediction': \['accuracy'\]\}"):
        Stage(*common, metrics={"prediction": ["crossentropy"]}, monitor="accuracy")
