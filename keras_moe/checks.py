"""What is checked in one way: arguments, installed packages, and that files are what they were."""

import importlib.util


class IntegrityError(ValueError):
    """A file that is not what was published or exported: truncated, altered, or another."""


def check(owner, name, value, holds, expected):
    """Raises ValueError naming ``owner``'s argument ``name`` and its ``value`` unless ``holds``."""
    if not holds:
        raise ValueError(f"{owner}: `{name}` must be {expected}. Received: {name}={value!r}")


def require(owner, extra, *packages):
    """Raises ImportError naming the ``extra`` that brings what ``owner`` needs, unless all ``packages`` are there."""
    missing = [package for package in packages if not importlib.util.find_spec(package)]
    if missing:
        raise ImportError(f'{owner} needs {" and ".join(missing)}: pip install "keras-moe[{extra}]"')
