"""Measurements: ratios within one run, never asserted in a test."""

import argparse


def without_options(description: str) -> None:
    """Prints for ``--help`` the first line of ``description``, and refuses any argument."""
    argparse.ArgumentParser(description=description.splitlines()[0]).parse_args()
