"""Whole pages for people to read."""
