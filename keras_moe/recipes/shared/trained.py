"""Weights that one recipe leaves for another."""

import os
import pathlib


def trained_weights(runs: str | os.PathLike[str], name: str, seed: int) -> pathlib.Path:
    """The weights file of the recipe ``name`` and a seed in ``runs``, the folder of all recipes' runs.

    Raises:
        FileNotFoundError: it was not trained yet, and the command that does.
    """
    path = pathlib.Path(runs, name, f"seed{seed}", "weights.safetensors")
    if not path.exists():
        command = f"python -m keras_moe.recipes {name} --seeds {seed}"
        raise FileNotFoundError(f"No base at {path}. Train it first: {command}")
    return path
