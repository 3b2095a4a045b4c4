"""Gathers the page, LiteRT.js and exported models in one folder, which any static server can serve.

    npm ci
    python build.py [FILE.tflite …] [--out dist]

A FILE is what `keras_moe.export.litert` wrote of a model that classifies or enlarges RGB images; without any, three
published models.
"""

import argparse
import hashlib
import json
import pathlib
import shutil
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
ZOO = HERE.parents[1] / "zoo"
CLASSIFIERS = ("hydranet_cifar100", "single_gated_cifar100")
PUBLISHED = [ZOO / name / "routed_int8.tflite" for name in CLASSIFIERS]
PUBLISHED += [ZOO / "classsr_fsrcnn_x4" / "routed_float16.tflite", ZOO / "hydranet_photos" / "routed_int8.tflite"]
PAGE = ("index.html", "style.css", "app.js", "camera.js", "model.js", "picture.js", "show.js", "upscale.js")
PACKAGES = HERE / "node_modules" / "@litertjs"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE", type=pathlib.Path)
    parser.add_argument("--out", default=HERE / "dist", type=pathlib.Path)
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in PAGE:
        shutil.copy(HERE / name, arguments.out)
    vendor(arguments.out / "litert")
    entries = [add_model(file, arguments.out) for file in arguments.files or PUBLISHED]
    (arguments.out / "models.json").write_text(json.dumps(entries, indent=1))
    print(f"{arguments.out}: {', '.join(entry['file'] for entry in entries)}")


def vendor(folder):
    """Copies the runtime: two modules and the WebAssembly variants, of which a browser fetches one."""
    if not PACKAGES.is_dir():
        raise SystemExit(f"LiteRT.js is not there: run `npm ci` in {HERE} first.")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "wasm").mkdir(parents=True)
    for name in ("core", "wasm-utils"):
        shutil.copy(PACKAGES / name / "dist" / "index.js", folder / f"{name}.js")
    for file in (PACKAGES / "core" / "wasm").iterdir():
        if "_jspi_" not in file.name and "_threaded_" not in file.name:  # unused: networks this small fit one thread
            shutil.copyfile(file, folder / "wasm" / file.name)


def add_model(file, folder):
    """Copies an exported file and returns what the page must know of it, read from the file itself."""
    try:
        with zipfile.ZipFile(file) as attached:
            described = json.loads(attached.read("keras_moe.json"))
            named = "labels.txt" in attached.namelist()
            labels = attached.read("labels.txt").decode().split("\n") if named else []
            shapes = {key: described[key] for key in ("input_shape", "output_shape")}
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise SystemExit(f"{file} is not a model that keras_moe exported: {error}") from error
    kind = len(shapes["output_shape"]), bool(labels)
    if shapes["input_shape"][2] != 3 or kind not in ((1, True), (3, False)):
        raise SystemExit(f"Expected a model that classifies, with labels, or enlarges RGB images. {file}: {shapes}.")
    data = file.read_bytes()
    target = f"{described['name']}.{file.name}"
    (folder / target).write_bytes(data)
    return {
        "title": f"{described['name']}, {file.stem}",
        "summary": described["summary"],
        **shapes,
        "file": target,
        "sha256": hashlib.sha256(data).hexdigest(),
        "labels": labels,
    }


if __name__ == "__main__":
    main()
