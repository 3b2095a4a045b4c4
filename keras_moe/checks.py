"""What is checked in one way: arguments, and that files are what they were."""


class IntegrityError(ValueError):
    """A file that is not what was published or exported: truncated, altered, or another."""


def check(owner, name, value, holds, expected):
    """Raises ValueError naming ``owner``'s argument ``name`` and its ``value`` unless ``holds``."""
    if not holds:
        raise ValueError(f"{owner}: `{name}` must be {expected}. Received: {name}={value!r}")
