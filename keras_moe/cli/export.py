"""``keras-moe export`` and ``keras-moe bench``."""

import argparse
import contextlib
import pathlib
import sys
import typing

from keras_moe.cli.placement import print_target
from keras_moe.cli.shared import (
    MODEL,
    Command,
    WrongCommand,
    check_range,
    fail,
    folder_or_table,
    load_model,
    model_name,
    positive,
    print_json,
)

if typing.TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from keras_moe.zoo import Card

File = tuple[str, pathlib.Path, "np.ndarray | None"]
"""To be timed: its label, the LiteRT file, and the images; None: those of the command."""

# Not imported: help must come at once. A test compares them with ``keras_moe.export.litert.convert.QUANTIZATIONS`` and
# ``keras_moe.export.targets.report.TARGETS``.
QUANTIZED = ("float16", "dynamic", "int8")
TARGETS = ("litert", "tflm", "ethos-u55-128", "ethos-u65-256", "ethos-u85-256", "edgetpu")


def register(command: Command) -> None:
    export = command("export", _export, "Write a model as LiteRT (TFLite) files for phones.")
    export.add_argument("name", type=model_name, help=MODEL)
    export.add_argument(
        "out", type=pathlib.Path, metavar="OUT", help="a .tflite file; a .json manifest for --form parts"
    )
    export.add_argument("--form", choices=("routed", "parts", "dense"), default="routed")
    export.add_argument("--quantize", choices=QUANTIZED)
    export.add_argument("--target", choices=TARGETS, default="litert", help="what the report is about; see README")
    export.add_argument(
        "--trunk-precision",
        choices=("int8", "float"),
        help="with --quantize int8, of what runs for every image; default: int8, or float where that would route more "
        "than 2 %% of the images differently, which takes longer",
    )
    export.add_argument("--strict", action="store_true", help="refuse what falls off an accelerator")
    export.add_argument(
        "--images",
        type=folder_or_table,
        metavar="FOLDER",
        help="or a .csv as for finetune, for the calibration of int8 and the comparison with Keras; default: the "
        "calibration images of a model folder, or crops of two photographs",
    )
    bench = command("bench", _bench, "Time models or exported files with LiteRT on real images.")
    bench.add_argument(
        "targets", nargs="+", type=_target, metavar="MODEL|FILE",
        help=f"{MODEL}, timed beside its dense form and its baseline; or a file that `export` wrote",
    )  # fmt: skip
    bench.add_argument("--quantize", choices=QUANTIZED, help="of models")
    bench.add_argument("--images", type=folder_or_table, metavar="FOLDER", help="default: as for export")
    bench.add_argument("--threads", type=positive, nargs="+", default=[1, 2])
    for printing in (export, bench):
        printing.add_argument("--json", action="store_true", help="print JSON")


def _export(arguments: argparse.Namespace) -> int:
    from keras_moe import zoo
    from keras_moe.export import litert

    card, suffix = zoo.card(arguments.name), ".json" if arguments.form == "parts" else ".tflite"
    if arguments.out.suffix != suffix:
        raise WrongCommand(f"OUT must end in {suffix} for --form {arguments.form}. Received: {arguments.out}")
    images, source = _images(arguments.images, card, arguments.name)
    if arguments.quantize:
        check_range("export", card)
    if arguments.quantize == "int8":
        print(f"keras-moe: calibrating with {source}", file=sys.stderr)
    model = load_model(arguments.name, card)
    with contextlib.redirect_stdout(sys.stderr):  # the converter's messages
        report = litert(
            model,
            arguments.out,
            arguments.form,
            arguments.quantize,
            representative_dataset=images,
            trunk_precision=arguments.trunk_precision,
            card=card,
            target=arguments.target,
            strict=arguments.strict,
        )
    if arguments.json:
        return print_json(report)
    for file, pinned in report["files"].items():
        print(f"{file}  {pinned['bytes']:,} bytes")
    print(f"conditions: {report['conditions']}")
    if report["trunk_precision"] == "float" and not arguments.trunk_precision:
        print("trunk: float, since int8 would route some images differently; faster with --trunk-precision int8")
    for expert, images in enumerate(report["calibration"] or ()):
        print(f"expert {expert}: {images} images were routed to it")
    for name, value in report["parity"].items():
        print(f"{name}: {value:.6g}")
    print_target(report["target"])
    return 0


def _bench(arguments: argparse.Namespace) -> int:
    import tempfile

    from rich.progress import track

    with tempfile.TemporaryDirectory() as temporary:
        with contextlib.redirect_stdout(sys.stderr):
            files = [file for target in arguments.targets for file in _files(target, temporary, arguments)]
        jobs = [(*file, threads) for file in files for threads in arguments.threads]
        timed = [_timed(*job, arguments) for job in track(jobs, "timing", console=_to_stderr(), transient=True)]
    rows = [row for rows in timed for row in rows]
    if arguments.json:
        print_json(rows)
    else:
        line = "{file}  threads {threads}  {route}  images {images}  p50 {p50_ms:.3f} ms  p95 {p95_ms:.3f} ms"
        print("\n".join(line.format(**row) for row in rows))
    return 0 if all(timed) else 1


def _timed(
    label: str, path: pathlib.Path, images: "np.ndarray | None", threads: int, arguments: argparse.Namespace
) -> list[dict[str, typing.Any]]:
    """Rows of one file, timed on ``images``, or else the command's; none, and a line on stderr, if it cannot run."""
    from keras_moe.export import LiteRTModel
    from keras_moe.export.litert.latency import by_route

    try:
        model = LiteRTModel(path, num_threads=threads)
    except (OSError, ValueError) as error:
        fail(str(error), 1)
        return []
    if images is None:
        images = _read(arguments.images, tuple(model.description["input_shape"]))
    return [{"file": label, "threads": threads, **row} for row in by_route(model, images)]


def _files(target: pathlib.Path | str, temporary: str, arguments: argparse.Namespace) -> list[File]:
    """The files to time for a target: of a model, exports of it and of its baseline."""
    from keras_moe import zoo
    from keras_moe.export import litert

    if isinstance(target, pathlib.Path):
        return [(str(target), target, None)]
    card, files = zoo.card(target), list[File]()
    baseline = [card.baseline] if card.baseline in zoo.list_models() else []
    for name in [target, *baseline]:
        described = zoo.card(name)
        check_range("bench", described)
        model, (images, _) = load_model(name, described), _images(arguments.images, described, name)
        forms = ("routed", "dense") if model.bank and name == target else ("routed",)
        for form in forms:
            path = pathlib.Path(temporary, f"{len(files)}_{described.name}_{form}.tflite")
            litert(model, path, form, arguments.quantize, images, card=described, check_parity=False)
            files.append((f"{described.name} {form}" if model.bank else described.name, path, images))
    return files


def _target(text: str) -> pathlib.Path | str:
    """Argument type: a LiteRT file or manifest, or a model."""
    path = pathlib.Path(text)
    if path.is_dir() or (path.suffix not in (".tflite", ".json") and not path.exists()):
        return model_name(text)
    if path.suffix not in (".tflite", ".json") or not path.is_file():
        raise argparse.ArgumentTypeError(f"expected a .tflite file or a .json manifest that exists. Received: {text}")
    return path


def _images(images: pathlib.Path | None, card: "Card", name: str) -> "tuple[np.ndarray, str]":
    """Images for a model, and a description of their origin."""
    from keras_moe import zoo

    remembered = None if images else zoo.calibration_images(name)
    if remembered is not None:
        return remembered.astype("float32"), f"the {len(remembered)} calibration images of {card.name}"
    source = f"the images in {images}" if images else "crops of two photographs; --images FOLDER takes your own"
    return _read(images, card.input.shape), source


def _read(images: pathlib.Path | None, shape: tuple[int, ...]) -> "np.ndarray":
    import numpy as np

    from keras_moe.datasets.files.listing import image_paths
    from keras_moe.images import crops, read_image

    if images is None:
        return crops(shape, 300)
    paths = image_paths(images)
    if not paths:
        raise ValueError(f"--images must be a folder of images. Received: {images}, which holds none")
    return np.stack([read_image(path, shape) for path in paths])


def _to_stderr() -> "Console":
    from rich.console import Console

    return Console(stderr=True)
