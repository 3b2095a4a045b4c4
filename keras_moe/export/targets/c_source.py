"""C source of exported graphs for microcontrollers: arrays, shapes, scales and labels."""

import json
import math
import re
import typing

from keras_moe.export.flatbuffer import tensors

_LINE = 30  # numbers
_HEADER = """\
/* {summary}
   Written by keras_moe.export.litert. Images have values in [0, 255]. */
#ifndef {macro}_H
#define {macro}_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {{
  const char* name;
  const char* type; /* float32, int8 */
  int axes;
  int shape[4];
  float scale; /* value = (integer - zero_point) * scale */
  int zero_point;
}} {prefix}_tensor;

typedef struct {{
  const char* name;
  const unsigned char* data; /* a LiteRT model */
  size_t bytes;
  size_t arena_bytes; /* measured on a host of 64 bits */
  int inputs;
  const {prefix}_tensor* input;
  int outputs;
  const {prefix}_tensor* output;
}} {prefix}_graph;

#define {macro}_GRAPHS {graphs}
#define {macro}_ARENA_BYTES {arena} /* of the largest graph, if all share one */
#define {macro}_FLOATS {floats} /* numbers in all inputs and outputs, those that graphs hand on counted once */
#define {macro}_EXPERTS {experts}
#define {macro}_ROUTE_GRAPH {route_graph} /* whose output {macro}_ROUTE_OUTPUT has a weight for each expert; -1: none */
#define {macro}_ROUTE_OUTPUT {route_output}
#define {macro}_LABELS {labels}

extern const {prefix}_graph {prefix}_graphs[{macro}_GRAPHS];
extern const char* const {prefix}_labels[{macro}_LABELS + 1]; /* NULL at the end */

#ifdef __cplusplus
}}
#endif

#endif
"""


def sources(
    stem: str, graphs: dict[str, bytes], arenas: dict[str, int], described: dict[str, typing.Any], labels: list[str]
) -> dict[str, bytes]:
    """``<stem>.h`` and ``<stem>.c`` of LiteRT ``graphs``, name -> bytes, whose arenas take ``arenas`` bytes."""
    prefix = re.sub(r"\W", "_", stem, flags=re.ASCII)
    prefix = f"m_{prefix}" if prefix[:1].isdigit() else prefix
    borders = {name: tensors(data) for name, data in graphs.items()}
    route = [
        (k, i)
        for k, sides in enumerate(borders.values())
        for i, tensor in enumerate(sides["outputs"])
        if tensor["name"] == "route"
    ]
    route_graph, route_output = route[0] if route else (-1, -1)
    summary = f"{described['name']}, {described['form']}, {described['quantize'] or 'float32'}. {described['license']}"
    header = _HEADER.format(
        summary=summary.replace("*/", "* /"),
        prefix=prefix,
        macro=prefix.upper(),
        graphs=len(graphs),
        arena=max(arenas.values()),
        floats=_floats(borders),
        experts=described["num_experts"],
        route_graph=route_graph,
        route_output=route_output,
        labels=len(labels),
    )
    arrays = [_arrays(k, data, borders[name]) for k, (name, data) in enumerate(graphs.items())]
    rows = [_row(k, name, len(graphs[name]), arenas[name], borders[name]) for k, name in enumerate(graphs)]
    table = f"const {prefix}_graph {prefix}_graphs[] = {{\n{''.join(rows)}}};\n"
    strings = "".join(f"  {json.dumps(label, ensure_ascii=False)},\n" for label in labels)
    listed = f"const char* const {prefix}_labels[] = {{\n{strings}  NULL}};\n"
    start = f'#include "{stem}.h"\n'
    source = "\n".join([start, *(text.replace("TENSOR", f"{prefix}_tensor") for text in arrays), table, listed])
    return {f"{stem}.h": header.encode(), f"{stem}.c": source.encode()}


def _floats(borders: dict[str, dict[str, list[dict[str, typing.Any]]]]) -> int:
    sizes = {
        tensor["name"]: math.prod(tensor["shape"])
        for sides in borders.values()
        for rows in sides.values()
        for tensor in rows
    }
    return sum(sizes.values())


def _arrays(k: int, data: bytes, sides: dict[str, list[dict[str, typing.Any]]]) -> str:
    """The bytes of graph ``k``, which interpreters want aligned, and its tensors."""
    rows = (data[start : start + _LINE] for start in range(0, len(data), _LINE))
    numbers = ",\n".join(",".join(map(str, row)) for row in rows)
    bytes_ = f"static const unsigned char data_{k}[] __attribute__((aligned(16))) = {{\n{numbers}}};\n"
    return bytes_ + "".join(
        f"static const TENSOR {side}_{k}[] = {{\n{''.join(map(_tensor, rows))}}};\n" for side, rows in sides.items()
    )


def _tensor(tensor: dict[str, typing.Any]) -> str:
    shape = ", ".join(map(str, tensor["shape"]))
    return (
        f'  {{"{tensor["name"]}", "{tensor["dtype"]}", {len(tensor["shape"])}, {{{shape}}}, '
        f"{tensor['scale']:.9g}, {tensor['zero_point']}}},\n"
    )


def _row(k: int, name: str, size: int, arena: int, sides: dict[str, list[dict[str, typing.Any]]]) -> str:
    borders = ", ".join(f"{len(rows)}, {side}_{k}" for side, rows in sides.items())
    return f'  {{"{name}", data_{k}, {size}, {arena}, {borders}}},\n'
