"""Measures of a mixture from plain arrays."""
