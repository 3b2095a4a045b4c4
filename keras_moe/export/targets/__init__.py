"""Machines that exported files run on: what runs where on them, and at what cost, by their makers' own tools."""
