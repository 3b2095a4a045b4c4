"""A function called in a process of its own that runs TensorFlow, whatever the backend here.

Its model is rebuilt there from code and weights. What goes in and what comes back is JSON and arrays (safetensors) in a
folder: nothing that could run. While it works it may send messages, lines of JSON on its standard output.
"""

import collections.abc
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import typing

import keras
import numpy as np

from keras_moe.files import write_bytes
from keras_moe.types import Array
from keras_moe.weights import load_weights, read_tensors, save_weights, write_tensors

Values: typing.TypeAlias = dict[str, typing.Any]
# Started as code rather than as a module, so that this one is there once, under its own name. Libraries warn of their
# own age: not this program's affair.
_START = ("-W", "ignore", "-c", f"import sys, {__name__} as process; process.work(sys.argv[1])")
_ARRAY = "array of keras_moe"  # the one key of what stands for an array
_messages: typing.TextIO | None = None  # standard output, where nothing else is printed


def run(
    function: str,
    model: keras.Model,
    arguments: Values,
    errors: tuple[type[Exception], ...] = (),
    on_message: collections.abc.Callable[[Values], None] = lambda message: None,
    trains: bool = False,
) -> typing.Any:
    """Calls ``function(model, **arguments)`` there.

    Args:
        function: ``"module:name"``.
        model: a Keras model that its configuration describes, with the weights it has now.
        arguments: dict of what JSON holds, with arrays anywhere in it.
        errors: kinds of ValueError that the function may raise, beside ValueError itself.
        on_message: called with each message that the function sends, a dict; see ``send``.
        trains: whether ``model`` takes the weights that it has there in the end.

    Returns:
        What the function returns: what JSON holds, with arrays anywhere in it.

    Raises:
        ValueError: what the function raised, a ValueError or an OSError; ``model`` is as it was.
        RuntimeError: the process died; the message ends with what it said.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        job = {"function": function, "model": keras.saving.serialize_keras_object(model), "arguments": arguments}
        _write(folder, "job", job)
        save_weights(model, folder / "weights.safetensors")
        status = _follow([sys.executable, *_START, temporary], folder / "said", on_message)
        if not (folder / "result.json").exists():
            printed = (folder / "said").read_text(encoding="utf-8", errors="replace")[-2000:]
            raise RuntimeError(f"The TensorFlow process of {function} ended with code {status}. It said:\n{printed}")
        returned = _returned(_read(folder, "result"), errors)
        if trains:
            load_weights(model, folder / "trained.safetensors")
        return returned


def send(**message: typing.Any) -> None:
    """Sends a message, of what JSON holds, to whoever called ``run``; in another process than that one it prints it."""
    print(json.dumps(message), file=_messages, flush=True)


def work(folder: str) -> None:
    """The work of the process: calls the function that the job in ``folder`` names and stores the outcome."""
    global _messages
    # Whatever else is printed, by libraries in C too, must not get between the messages.
    _messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    place = pathlib.Path(folder)
    job = _read(place, "job")
    module, _, name = job["function"].partition(":")
    function = getattr(importlib.import_module(module), name)
    try:
        model = keras.saving.deserialize_keras_object(job["model"])
        load_weights(model, place / "weights.safetensors")
        result = {"returned": function(model, **job["arguments"])}
        save_weights(model, place / "trained.safetensors")
    except (ValueError, OSError) as error:
        result = {"error": str(error), "kind": type(error).__name__}
    _write(place, "result", result)


def _follow(command: list[str], error_file: pathlib.Path, on_message: collections.abc.Callable[[Values], None]) -> int:
    """Runs a process to its end, its errors in ``error_file``, its messages handed on. Returns its exit status."""
    with (
        open(error_file, "wb") as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=_environment(), encoding="utf-8", errors="replace"
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                on_message(json.loads(line))
        except BaseException:
            process.kill()
            raise
    return process.returncode


def _returned(result: Values, errors: tuple[type[Exception], ...]) -> typing.Any:
    """The function's result; raises the function's exception."""
    if "error" in result:
        raise {kind.__name__: kind for kind in errors}.get(result["kind"], ValueError)(result["error"])
    return result["returned"]


def _environment() -> dict[str, str]:
    """Variables of a process that runs TensorFlow and imports from where this one does."""
    return {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONIOENCODING": "utf-8",
    }


def _write(folder: pathlib.Path, name: str, values: Values) -> None:
    arrays: dict[str, Array] = {}
    text = json.dumps(_without_arrays(values, arrays))
    write_tensors(folder / f"{name}.safetensors", arrays)
    write_bytes(folder / f"{name}.json", text.encode())  # which is there once all is


def _read(folder: pathlib.Path, name: str) -> Values:
    arrays = read_tensors(folder / f"{name}.safetensors")
    values: Values = _with_arrays(json.loads((folder / f"{name}.json").read_text("utf-8")), arrays)
    return values


def _without_arrays(value: typing.Any, arrays: dict[str, Array]) -> typing.Any:
    """``value``, each array in it replaced by a number under which ``arrays`` holds it."""
    if isinstance(value, np.ndarray):
        arrays[str(len(arrays))] = value
        return {_ARRAY: str(len(arrays) - 1)}
    if isinstance(value, dict):
        return {key: _without_arrays(item, arrays) for key, item in value.items()}
    return [_without_arrays(item, arrays) for item in value] if isinstance(value, (list, tuple)) else value


def _with_arrays(value: typing.Any, arrays: dict[str, Array]) -> typing.Any:
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: _with_arrays(item, arrays) for key, item in value.items()}
    return [_with_arrays(item, arrays) for item in value] if isinstance(value, list) else value
