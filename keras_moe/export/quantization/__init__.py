"""Before int8: kernels rounded, layers equalized, ranges of activations measured."""
