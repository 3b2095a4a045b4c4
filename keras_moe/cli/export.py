"""``keras-moe export`` and ``keras-moe bench``."""

import argparse
import contextlib
import pathlib
import sys
import typing

from keras_moe.cli.shared import Command, fail, model_name, positive, print_json

if typing.TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

QUANTIZED = ("float16", "dynamic", "int8")


def register(command: Command) -> None:
    export = command("export", _export, "Write a published model as LiteRT (TFLite) files for phones.")
    export.add_argument("name", type=model_name)
    export.add_argument(
        "out", type=pathlib.Path, metavar="OUT", help="a .tflite file; a .json manifest for --form parts"
    )
    export.add_argument("--form", choices=("routed", "parts", "dense"), default="routed")
    export.add_argument("--quantize", choices=QUANTIZED)
    export.add_argument(
        "--images", type=pathlib.Path, metavar="FOLDER", help="images that calibrate int8 and are compared"
    )
    bench = command("bench", _bench, "Time published models or exported files with LiteRT on real images.")
    bench.add_argument(
        "targets", nargs="+", type=_target, metavar="NAME|FILE",
        help="a published model, which is timed beside its dense form and its baseline; or what `export` wrote",
    )  # fmt: skip
    bench.add_argument("--quantize", choices=QUANTIZED, help="of published models")
    bench.add_argument("--images", type=pathlib.Path, metavar="FOLDER", help="default: crops of two photographs")
    bench.add_argument("--threads", type=positive, nargs="+", default=[1, 2])
    for printing in (export, bench):
        printing.add_argument("--json", action="store_true", help="print JSON")


def _export(arguments: argparse.Namespace) -> int:
    from keras_moe import zoo
    from keras_moe.export import litert

    card = zoo.card(arguments.name)
    if arguments.quantize == "int8" and arguments.images is None:
        print("keras-moe: calibrating with crops of two photographs; --images FOLDER takes your own", file=sys.stderr)
    with contextlib.redirect_stdout(sys.stderr):  # what the converter says
        images = _images(arguments.images, card.input.shape)
        report = litert(
            zoo.load(card.name),
            arguments.out,
            arguments.form,
            arguments.quantize,
            representative_dataset=images,
            card=card,
        )
    if arguments.json:
        return print_json(report)
    for file, pinned in report["files"].items():
        print(f"{file}  {pinned['bytes']:,} bytes")
    print(f"conditions: {report['conditions']}")
    for expert, images in enumerate(report["calibration"] or ()):
        print(f"expert {expert}: {images} images were routed to it")
    for name, value in report["parity"].items():
        print(f"{name}: {value:.6g}")
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    import tempfile

    from rich.progress import track

    with tempfile.TemporaryDirectory() as folder:
        with contextlib.redirect_stdout(sys.stderr):
            files = {k: v for target in arguments.targets for k, v in _files(target, folder, arguments).items()}
        jobs = [(label, path, threads) for label, path in files.items() for threads in arguments.threads]
        found = [_timed(*job, arguments) for job in track(jobs, "timing", console=_to_stderr(), transient=True)]
    rows = [row for rows in found for row in rows]
    if arguments.json:
        print_json(rows)
    else:
        line = "{file}  threads {threads}  {route}  images {images}  p50 {p50_ms:.3f} ms  p95 {p95_ms:.3f} ms"
        print("\n".join(line.format(**row) for row in rows))
    return 0 if all(found) else 1


def _timed(label: str, path: pathlib.Path, threads: int, arguments: argparse.Namespace) -> list[dict[str, typing.Any]]:
    """Rows of one file; none, and a complaint, where it cannot be run."""
    from keras_moe.export import LiteRTModel
    from keras_moe.export.litert.latency import by_route

    try:
        model = LiteRTModel(path, num_threads=threads)
    except (OSError, ValueError) as error:
        fail(str(error), 1)
        return []
    images = _images(arguments.images, tuple(model.description["input_shape"]))
    return [{"file": label, "threads": threads, **row} for row in by_route(model, images)]


def _files(target: pathlib.Path | str, folder: str, arguments: argparse.Namespace) -> dict[str, pathlib.Path]:
    """What is timed for a target: label -> path. A published model is exported, and what it is compared with."""
    from keras_moe import zoo
    from keras_moe.export import litert

    if isinstance(target, pathlib.Path):
        return {str(target): target}
    card = zoo.card(target)
    images, files = _images(arguments.images, card.input.shape), {}
    for described in [card] + [zoo.card(card.baseline)] * bool(card.baseline):
        model = zoo.load(described.name)
        forms = ("routed", "dense") if model.bank and described is card else ("routed",)
        for form in forms:
            path = pathlib.Path(folder, f"{described.name}_{form}.tflite")
            litert(model, path, form, arguments.quantize, images, card=described, check_parity=False)
            files[f"{described.name} {form}" if model.bank else described.name] = path
    return files


def _target(text: str) -> pathlib.Path | str:
    """Argument type: a LiteRT file or manifest, or the name of a published model."""
    path = pathlib.Path(text)
    return path if path.suffix in (".tflite", ".json") else model_name(text)


def _images(folder: pathlib.Path | None, shape: tuple[int, ...]) -> "np.ndarray":
    import numpy as np

    from keras_moe.images import crops, read_image

    if folder is None:
        return crops(shape, 300)
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    if not paths:
        raise ValueError(f"Expected a folder of images. Received: {folder}, which holds no file")
    return np.stack([read_image(path, shape) for path in paths])


def _to_stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True)
