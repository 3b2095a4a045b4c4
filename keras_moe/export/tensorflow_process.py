"""The export of a model of another backend: rebuilt from code and weights in a process that runs TensorFlow.

    python -m keras_moe.export.tensorflow_process FOLDER        # what ``run`` starts

The folder carries the model's configuration (JSON), its weights and the images (safetensors): nothing that could run.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import keras

from keras_moe.weights import load_weights, read_tensors, save_weights, write_tensors


def environment():
    """Variables of a process that runs TensorFlow and imports from where this one does."""
    path = os.pathsep.join(p for p in sys.path if p)
    return {
        **os.environ,
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": path,
        "PYTHONIOENCODING": "utf-8",
    }


def run(model, arrays, options):
    """Calls ``litert.export`` on ``model`` in a process of its own.

    Args:
        model: an ``MoEModel``.
        arrays: dict of arrays, or of None.
        options: dict of what JSON holds.

    Returns:
        What ``export`` returns.

    Raises:
        ValueError: what ``export`` raised there.
        RuntimeError: the process died.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = pathlib.Path(folder)
        config = keras.saving.serialize_keras_object(model)
        (job / "job.json").write_text(json.dumps({"model": config, "options": options}))
        save_weights(model, job / "weights.safetensors")
        write_tensors(job / "arrays.safetensors", {k: v for k, v in arrays.items() if v is not None})
        command = [sys.executable, "-W", "ignore", "-m", "keras_moe.export.tensorflow_process", folder]
        done = subprocess.run(
            command, env=environment(), capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        if not (job / "result.json").exists():
            raise RuntimeError(f"The exporting process ended with code {done.returncode}:\n{done.stderr[-2000:]}")
        result = json.loads((job / "result.json").read_text())
    if "error" in result:
        raise _errors().get(result["kind"], ValueError)(result["error"])
    return result["report"]


def _errors():
    from keras_moe.export.litert.parity import ParityError

    return {"ParityError": ParityError}


def _work(folder):
    from keras_moe.export.litert.pipeline import export

    job = pathlib.Path(folder)
    described = json.loads((job / "job.json").read_text())
    try:
        model = keras.saving.deserialize_keras_object(described["model"])
        load_weights(model, job / "weights.safetensors")
        arrays = read_tensors(job / "arrays.safetensors")
        result = {"report": export(model, arrays, **described["options"])}
    except (ValueError, OSError) as error:
        result = {"error": str(error), "kind": type(error).__name__}
    (job / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    _work(sys.argv[1])
