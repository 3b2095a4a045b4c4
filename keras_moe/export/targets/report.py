"""Report on exported graphs for a target: the place of each operation, its cost, operations left to the CPU."""

import dataclasses
import re
import typing

from keras_moe.checks import require
from keras_moe.export.targets import c_source, edge_tpu, tflm, vela
from keras_moe.export.targets.operators import Operator, layer, operators

TARGETS = ("litert", "tflm", *vela.ACCELERATORS, "edgetpu")
Report: typing.TypeAlias = dict[str, typing.Any]
_SHOWN = 8  # operations that a message names


def require_tool(target: str) -> None:
    """Raises ImportError where the tool of ``target``, one of ``TARGETS``, is missing."""
    if target == "tflm":
        require("litert", "edge", "tflite_micro")
    if target in vela.ACCELERATORS:
        require("litert", "edge", "ethosu")


def built(
    target: str, graphs: dict[str, bytes], layers: list[str], described: Report, labels: list[str], stem: str
) -> tuple[Report, dict[str, bytes]]:
    """``(report, files)`` of LiteRT ``graphs``, name -> bytes, for a target.

    Args:
        target: one of ``TARGETS``.
        graphs: as ``forms.Graphs`` holds them.
        layers: names of the model's layers.
        described, labels: what the exported files say of themselves.
        stem: of the names of files.

    Returns:
        The report: ``"name"``, and ``"graphs"``: name -> ``"operators"`` (dicts of operation, layer, place, reason) and
        figures in bytes, cycles and MACs. The files, name -> bytes: compiled ones for an Ethos-U, C sources for tflm.

    Raises:
        ValueError: tflite-micro cannot run a graph; it names the operation, its layer and the way out.
    """
    found: dict[str, Report] = {}
    files: dict[str, bytes] = {}
    for name, data in graphs.items():
        if target in vela.ACCELERATORS:
            made = vela.compiled(data, target)
            files[f"{stem}.{name}.{target}.tflite"] = made.data
            figures = {key: getattr(made, key) for key in ("cycles", "macs", "sram_bytes", "dram_bytes")}
            found[name] = _row(made.operators, layers, file_bytes=len(made.data), **figures)
        else:
            placed = [_placed(op, target) for op in operators(data)]
            found[name] = _row(placed, layers, file_bytes=len(data))
        if target == "tflm":
            found[name]["arena_bytes"] = _arena(name, data, found[name]["operators"])
    if target == "tflm":
        arenas = {name: row["arena_bytes"] for name, row in found.items()}
        files = c_source.sources(stem, graphs, arenas, described, labels)
    return {"name": target, "graphs": found}, files


def left(report: Report, described: Report) -> str:
    """A message on the operations that the accelerator leaves to the CPU, with the remedy; empty without any.

    The router of parts is the CPU's: it decides in float, and costs next to nothing.
    """
    named = [
        f"{row['operation']} of {row['layer']!r} ({name}: {row['reason']})"
        for name, graph in report["graphs"].items()
        for row in graph["operators"]
        if row["reason"] and not (described["form"] == "parts" and name == "router")
    ]
    if not named:
        return ""
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return (
        f"litert: {len(named)} operations run on the CPU of {report['name']}, not on the accelerator: "
        f"{'; '.join(named[:_SHOWN])}{more}. {_way_out(described)}"
    )


def _way_out(described: Report) -> str:
    if described["quantize"] != "int8":
        return "Accelerators compute with integers: give quantize='int8' and representative images."
    if described["form"] != "parts":
        return "Give form='parts': integers throughout, and no IF, since the application runs the chosen experts."
    return "Build the model with other layers in their place, or let the CPU compute them."


def _row(placed: list[Operator], layers: list[str], **figures: int) -> Report:
    rows = [
        {"operation": op.kind, "layer": layer(op.output, layers), "place": op.place, "reason": op.reason}
        for op in placed
    ]
    return {"operators": rows, **figures}


def _placed(op: Operator, target: str) -> Operator:
    """``op`` with its place on a target that no compiler tells of."""
    if target != "edgetpu":
        return dataclasses.replace(op, place={"litert": "LiteRT", "tflm": "tflite-micro"}[target])
    reason = edge_tpu.reason(op.kind, op.integer)
    return dataclasses.replace(op, place="CPU" if reason else "Edge TPU", reason=reason)


def _arena(name: str, data: bytes, rows: list[Report]) -> int:
    """Bytes of a graph's arena in tflite-micro."""
    try:
        return tflm.TFLMGraph(data).arena_bytes()
    except ValueError as error:
        kinds = re.findall(r"opcode '(\w+)'|Node (\w+) ", str(error))
        kind = next((a or b for a, b in kinds), "an operation")
        layers = sorted({row["layer"] for row in rows if row["operation"] == kind})
        raise ValueError(
            f"{error} It stops at {kind} of {name}, in layer(s) {layers or 'unknown'}. Build the model with another "
            "layer in its place; float16 and dynamic files run in LiteRT alone: give quantize=None or 'int8'."
        ) from error
