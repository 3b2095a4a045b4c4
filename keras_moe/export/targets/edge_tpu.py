"""Operations that the Edge TPU supports, by its vendor's public list: the compiler cannot be installed from an index.

A name on the list is necessary, not sufficient: the compiler also looks at shapes, strides and quantization.
"""

# coral.ai/docs/edgetpu/models-intro, compiler 16.
_LIST = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D EXPAND_DIMS FULLY_CONNECTED L2_NORMALIZATION LOGISTIC
    MAXIMUM MAX_POOL_2D MEAN MINIMUM MUL PACK PAD PRELU QUANTIZE REDUCE_MAX REDUCE_MIN RELU RELU6 RELU_N1_TO_1 RESHAPE
    RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SQUARED_DIFFERENCE SQUEEZE
    STRIDED_SLICE SUB SUM TANH TRANSPOSE TRANSPOSE_CONV
"""
OPERATIONS = frozenset(_LIST.split())


def reason(kind: str, integer: bool) -> str:
    """Why an operation is left to the CPU; empty where the list has it.

    Args:
        kind: name of the operation.
        integer: whether it works on integers.
    """
    if kind not in OPERATIONS:
        return "the Edge TPU has no such operation"
    return "" if integer else "the Edge TPU computes with int8 alone"
