"""Which operations accelerators take, by their makers' public lists.

A name on the list is necessary, not sufficient: compilers also look at shapes, strides and quantization. What is not on
the list runs on the CPU.
"""

import collections.abc

# coral.ai/docs/edgetpu/models-intro, compiler 16.
_EDGE_TPU = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED L2_NORMALIZATION LOGISTIC
    MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQUARED_DIFFERENCE SQUEEZE
    STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV
"""
# SUPPORTED_OPS.md of Vela 3.6, Arm's compiler for the Ethos-U.
_ETHOS_U = """
    ABS ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED HARD_SWISH LEAKY_RELU
    LOGISTIC MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD PRELU QUANTIZE RELU RELU6 RELU_N1_TO_1 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SHAPE SLICE SOFTMAX SPLIT SPLIT_V SQUEEZE STRIDED_SLICE SUB TANH
    TRANSPOSE_CONV UNPACK
"""
ACCELERATORS = {"edge_tpu": frozenset(_EDGE_TPU.split()), "ethos_u": frozenset(_ETHOS_U.split())}


def left_to_the_cpu(operations: collections.abc.Mapping[str, int]) -> dict[str, list[str]]:
    """Accelerator -> names among ``operations`` (name -> count) that are not on its list, sorted."""
    return {name: sorted(set(operations) - taken) for name, taken in ACCELERATORS.items()}
