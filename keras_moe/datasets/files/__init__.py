"""The user's labelled image files: listed, opened once, grouped with their duplicates, split."""
