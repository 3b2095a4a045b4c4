"""Frozen dataclasses from TOML, strictly, and back. Annotations say what a table must hold.

Known kinds: str, int, float, dict (any table, its arrays as tuples), a dataclass (a table), ``tuple[kind, ...]`` (an
array) and unions of plain kinds.
"""

import dataclasses
import math
import types
import typing


def read(kind: typing.Any, value: typing.Any, problems: list[str], where: str = "") -> typing.Any:
    """``value``, as ``tomllib`` gives it, as ``kind``; appends to the list ``problems`` what does not fit.

    A text may only be empty in a field whose default is empty, and numbers must be finite.
    """
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, value, problems, where)
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        item = typing.get_args(kind)[0]
        return tuple(read(item, v, problems, f"{where}[{i}]") for i, v in enumerate(value))
    if typing.get_origin(kind) is dict and isinstance(value, dict):
        return {k: read(kind, v, problems, where) if isinstance(v, dict) else _tuple(v) for k, v in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(value) not in kinds:
        problems.append(f"{where}: expected {' or '.join(k.__name__ for k in kinds)}. Received: {value!r}")
    elif isinstance(value, float) and not math.isfinite(value):
        problems.append(f"{where}: expected a finite number. Received: {value!r}")
    return value


def toml(values: dict[str, typing.Any]) -> str:
    """TOML text of a dict of str, int, float, bool, lists of them, tables (dict) of those and arrays of tables.

    Raises:
        ValueError: a value of another type.
    """
    import tomlkit

    try:
        return tomlkit.dumps(values)
    except ValueError as error:
        raise ValueError(f"Expected text, numbers, booleans, lists and tables of them. Received: {error}") from error


def _record(kind: typing.Any, table: dict[str, typing.Any], problems: list[str], where: str) -> typing.Any:
    before, prefix = len(problems), f"{where}." if where else ""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    problems += [f"{prefix}{name}: unknown key" for name in table if name not in fields]
    problems += [f"{prefix}{name}: missing" for name in fields if name in required and name not in table]
    problems += [f"{prefix}{name}: is empty" for name in fields if name in required and table.get(name) == ""]
    present = [field for name, field in fields.items() if name in table]
    parts = {field.name: read(field.type, table[field.name], problems, prefix + field.name) for field in present}
    if len(problems) > before:
        return None
    try:
        return kind(**parts)
    except ValueError as error:
        problems.append(f"{where}: {error}" if where else str(error))
        return None


def _tuple(value: typing.Any) -> typing.Any:
    return tuple(value) if isinstance(value, list) else value
