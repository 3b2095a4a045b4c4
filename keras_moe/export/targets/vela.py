"""Vela, Arm's compiler for the Ethos-U (extra ``edge``): what it puts on the NPU, and what it estimates."""

import csv
import dataclasses
import pathlib
import re
import subprocess
import sys
import tempfile

from keras_moe.export.targets.operators import Operator, operators

# Accelerator -> Vela's own example of a system around it, and how that one shares its memory.
ACCELERATORS = {
    "ethos-u55-128": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65-256": ("Ethos_U65_Client_Server", "Dedicated_Sram_384KB"),
    "ethos-u85-256": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}
_KIBIBYTE = 1024
_ON_NPU = "CUSTOM:ethos-u"
_WARNING = re.compile(r"operator: \w+, ofm: '([^']*)'\nReason: (.+)")


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A LiteRT file that Vela compiled.

    Args:
        data: the LiteRT file, bytes: what the NPU runs are operations called ``ethos-u``.
        operators: those of the file before; ``place`` is ``"NPU"`` or ``"CPU"``.
        cycles: int, of the NPU and the memory around it, as Vela estimates them. Every branch of an ``IF`` is counted,
            and nothing that the CPU does.
        macs: int, multiply-accumulates on the NPU.
        sram_bytes, dram_bytes: int, memory that the graph takes.
    """

    data: bytes
    operators: list[Operator]
    cycles: int
    macs: int
    sram_bytes: int
    dram_bytes: int


def compiled(data: bytes, accelerator: str) -> Compiled:
    """The LiteRT model ``data``, ``Compiled`` for one of ``ACCELERATORS``.

    Raises:
        ValueError: Vela refuses it, or writes an operation without a result: Vela 5.2 does of files with ``IF`` for the
            Ethos-U85.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        (folder / "graph.tflite").write_bytes(data)
        said = _run(folder, accelerator)
        output = (folder / "graph_vela.tflite").read_bytes()
        (summary,) = folder.glob("*_summary_*.csv")
        with open(summary, encoding="utf-8", newline="") as file:
            (figures,) = csv.DictReader(file)
    after = operators(output)
    if not all(op.output for op in after):
        raise ValueError(
            f"Vela lost the result of an operation, compiling the file for {accelerator}; what it wrote cannot be "
            "right. Give form='parts', which has no IF, or another accelerator."
        )
    return Compiled(
        output,
        _placed(operators(data), after, said),
        round(float(figures["cycles_total"])),
        round(float(figures["nn_macs"])),
        round(_KIBIBYTE * float(figures["sram_memory_used"])),
        round(_KIBIBYTE * float(figures["dram_memory_used"])),
    )


def _run(folder: pathlib.Path, accelerator: str) -> str:
    """Lets Vela compile ``graph.tflite`` in ``folder``; returns what it said."""
    system, memory = ACCELERATORS[accelerator]
    settings = {"accelerator-config": accelerator, "system-config": system, "memory-mode": memory}
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    command = [sys.executable, "-m", "ethosu.vela", "graph.tflite", *options, "--output-dir", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", errors="replace")
    said = done.stdout + done.stderr
    if done.returncode:
        raise ValueError(f"Vela cannot compile the file for {accelerator}. It said:\n{said[-2000:]}")
    return said


def _placed(before: list[Operator], after: list[Operator], said: str) -> list[Operator]:
    """Operators ``before`` compilation, each with its place: the CPU has what still stands ``after`` it."""
    reasons = dict(_WARNING.findall(said))
    names = {op.output for op in before}
    left = {op.output: op for op in after if op.kind != _ON_NPU}
    own = [op for output, op in left.items() if output not in names]  # that Vela put there
    return [
        _with_place(op, op.output in left, reasons.get(op.output, "Vela does not say why")) for op in (*before, *own)
    ]


def _with_place(op: Operator, is_left: bool, reason: str) -> Operator:
    return dataclasses.replace(op, place="CPU", reason=reason) if is_left else dataclasses.replace(op, place="NPU")
