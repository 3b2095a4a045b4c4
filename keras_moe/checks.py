"""Arguments checked in one way: what was expected, what was received."""


def check(owner, name, value, holds, expected):
    """Raises ValueError naming ``owner``'s argument ``name`` and its ``value`` unless ``holds``."""
    if not holds:
        raise ValueError(f"{owner}: `{name}` must be {expected}. Received: {name}={value!r}")
