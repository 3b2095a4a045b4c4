"""Layers from files in which their arguments have older names."""

import typing

import keras


def of_today(cls: type, arguments: dict[str, typing.Any]) -> dict[str, typing.Any]:
    """The ``arguments`` of a class under their names of today."""
    names: dict[str, str] = getattr(cls, "older_names", {})
    return {names.get(name, name): value for name, value in arguments.items()}


class OlderNames(keras.layers.Layer):
    """A layer that may be loaded from a file of an older version, in which names differ.

    A subclass lists them in ``older_names``: dict, older name of an argument of the constructor or the call -> name.
    """

    older_names: typing.ClassVar[dict[str, str]] = {}

    @classmethod
    def from_config(cls, config: dict[str, typing.Any]) -> typing.Self:
        return cls(**of_today(cls, config))

    def build_from_config(self, config: dict[str, typing.Any]) -> None:
        if "shapes_dict" in config:
            self.build(*config["shapes_dict"].values())  # by position: their names follow those of the call
        else:
            super().build_from_config(config)

    def __call__(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any:
        return super().__call__(*args, **of_today(type(self), kwargs))  # a functional model's file keeps keywords
