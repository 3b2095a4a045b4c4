"""What fine-tuning makes of a folder: mixtures beside the dense network of the same training, and what each run took.

    KERAS_BACKEND=tensorflow python -m benchmarks.finetuning FOLDER [--starts efficientnet_lite0 hydranet_photos]

Each start is a command ``keras-moe finetune START FOLDER``, the dense network that of ``efficientnet_lite0`` with
``--dense``; all of them split the folder alike. Folders of a run are below ``--out`` and are not made anew. CPU seconds
are user and system time; divided by the cores they are about the minutes on an idle machine.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

from keras_moe.files import write_json

DENSE = ("efficientnet_lite0", "--dense")
PROGRAM = "import sys; from keras_moe_cli import main; sys.exit(main())"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path, help="a folder with a folder for each class")
    parser.add_argument("--starts", nargs="+", default=["efficientnet_lite0", "hydranet_photos"])
    parser.add_argument("--flags", nargs="*", default=[], help="for every run, without dashes: size=96 seed=1")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs", "finetuning"))
    arguments = parser.parse_args()
    flags = [f"--{flag}" for flag in arguments.flags]
    print("| start | accuracy | 95 % | MACs executed | its dense network | minutes | CPU seconds |")
    print("|---|---|---|---|---|---|---|")
    for command in [DENSE, *((start,) for start in arguments.starts)]:
        out = arguments.out / "_".join([arguments.folder.name, *command, *flags]).replace("--", "")
        print(_row(" ".join(command), _tuned([*command, *flags], arguments.folder, out)), flush=True)


def _tuned(command, folder, out):
    """The metrics of a run, and its ``minutes`` and ``cpu_seconds``, of the last process if it was interrupted."""
    took = out.with_name(f"{out.name}.json")
    if not took.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        began, before = time.monotonic(), os.times()
        start, *flags = command
        program = [sys.executable, "-c", PROGRAM, "finetune", start, str(folder), str(out), *flags]
        subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        write_json(took, {"minutes": (time.monotonic() - began) / 60, "cpu_seconds": cpu})
    return json.loads((out / "metrics.json").read_text()) | json.loads(took.read_text())


def _row(name, tuned):
    low, high = tuned["interval"]
    dense = tuned["dense"]
    beside = "-" if dense is None else f"{dense['accuracy']:.1%} for {dense['macs'] / 1e6:.1f} M"
    return (
        f"| {name} | {tuned['accuracy']:.1%} | {low:.1%} to {high:.1%} | {tuned['macs'] / 1e6:.1f} M | {beside} | "
        f"{tuned['minutes']:.1f} | {tuned['cpu_seconds']:.0f} |"
    )


if __name__ == "__main__":
    main()
