"""Smaller weights: pruned, clustered, trained for quantization."""
