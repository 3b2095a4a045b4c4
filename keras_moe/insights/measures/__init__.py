"""Measures of a mixture from plain arrays, and all of them at once in a ``Summary``."""
