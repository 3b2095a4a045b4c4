"""Labelled images in files of one's own: listed, opened once, kept with their duplicates, split."""
