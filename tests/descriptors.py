"""Every layer and model once, tiny; the cross-cutting tests run over this list."""

import dataclasses

import keras

from keras_moe import layers, models


@dataclasses.dataclass(frozen=True)
class Descriptor:
    """``create()`` makes the object; ``shapes`` are its inputs without the batch; ``weights`` counts its variables."""

    name: str
    create: object
    shapes: tuple[tuple[int, ...], ...]
    weights: int
    is_list: bool = False


def _bank(**kwargs):
    return layers.ExpertBank([keras.layers.Dense(3, name=f"expert_{k}") for k in range(4)], **kwargs)


LAYERS = [
    Descriptor("gate", lambda **kw: layers.TopKGate(k=2, temperature=0.5, noise=0.1, seed=3, **kw), ((4,),), 1),
    Descriptor("gate_per_pixel", lambda **kw: layers.TopKGate(k=1, train_k=4, **kw), ((2, 2, 4),), 1),
    Descriptor("bank", _bank, ((5,), (4,)), 8),
    Descriptor("sum", lambda **kw: layers.Ensembler(**kw), ((5,), (5,)), 0, is_list=True),
    Descriptor("learned", lambda **kw: layers.Ensembler(learned=True, **kw), ((5,), (5,), (5,)), 1, is_list=True),
]

TINY = {"input_shape": (8, 8, 3), "alpha": 0.5, "backbone": "resnet8", "classes": 5}
HYDRA = {**TINY, "branches": 3, "gate_filters": 8}

MODELS = [
    Descriptor("hydranet", lambda **kw: models.HydraNet(**{**HYDRA, **kw}), ((8, 8, 3),), 85),
    Descriptor("hydranet_top1", lambda **kw: models.HydraNet(**{**HYDRA, "top_k": 1, **kw}), ((8, 8, 3),), 85),
    Descriptor(
        "hydranet_logits", lambda **kw: models.HydraNet(**{**HYDRA, "combine": "logits", **kw}), ((8, 8, 3),), 89
    ),
    Descriptor(
        "hydranet_litenet", lambda **kw: models.HydraNet(**{**HYDRA, "backbone": "litenet", **kw}), ((8, 8, 3),), 180
    ),
    Descriptor("classifier", lambda **kw: models.Classifier(**{**TINY, **kw}), ((8, 8, 3),), 47),
]
