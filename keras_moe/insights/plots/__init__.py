"""Figures whose titles state the finding."""
