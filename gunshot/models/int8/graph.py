"""A .tflite file as layers."""

from dataclasses import dataclass

import numpy as np

from gunshot.models.int8 import elementwise
from gunshot.models.int8.kernels import quantized
from gunshot.models.int8.layers import AveragePool, Conv, Depthwise, Layer, MaxPool, Rescale

SAME = 0  # padding in the file
ELEMENTWISE = {
    "LEAKY_RELU": elementwise.leaky_relu,
    "LOGISTIC": elementwise.logistic,
    "RELU": elementwise.relu,
}


@dataclass
class Tensor:
    """A tensor of the file; `data` is what is constant."""

    shape: tuple[int, ...]
    scales: np.ndarray | None  # float32
    zero_point: int
    data: np.ndarray | None

    @property
    def scale(self) -> np.float32:
        """The one scale of a tensor that has one."""
        return self.scales[0]


@dataclass
class Operator:
    """An operator, its inputs and outputs as numbers of tensors."""

    name: str
    options: object
    inputs: list[int]
    outputs: list[int]


class Graph:
    """The tensors and operators of a .tflite file."""

    def __init__(self, model: bytes):
        from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

        if model[4:8] != b"TFL3":
            raise ValueError(f"model of {len(model)} bytes must be a .tflite file, with TFL3 from its fifth byte on")
        file = schema.ModelT.InitFromPackedBuf(model, 0)
        if len(file.subgraphs) != 1 or len(file.subgraphs[0].inputs) != 1 or len(file.subgraphs[0].outputs) != 1:
            raise ValueError("model must have one subgraph, with one input and one output")
        (graph,) = file.subgraphs
        self.tensors, self.buffers = graph.tensors, file.buffers
        self.input, self.output = int(graph.inputs[0]), int(graph.outputs[0])
        self.types = {v: k for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
        names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        codes = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in file.operatorCodes]
        self.operators = [
            Operator(codes[op.opcodeIndex], op.builtinOptions, list(map(int, op.inputs)), list(map(int, op.outputs)))
            for op in graph.operators
        ]

    def tensor(self, i: int, kind: str = "INT8") -> Tensor:
        """Return tensor `i`; ValueError where it is not of the type `kind`."""
        tensor = self.tensors[i]
        if self.types[tensor.type] != kind:
            raise ValueError(f"tensor {tensor.name.decode()} type={self.types[tensor.type]} must be {kind}")
        shape = tuple(int(n) for n in tensor.shape) if tensor.shape is not None else ()
        data, affine = self.buffers[tensor.buffer].data, tensor.quantization
        if data is not None:
            data = np.asarray(data, np.uint8).view({"INT8": "<i1", "INT32": "<i4"}[kind]).reshape(shape)
        scales = zeros = None
        if affine is not None and affine.scale is not None:
            scales, zeros = np.asarray(affine.scale, np.float32), np.asarray(affine.zeroPoint)
            if bad := [scale for scale in scales if not 0 < scale < np.inf]:
                raise ValueError(f"tensor {tensor.name.decode()} scale={bad[0]} must be a positive number")
        return Tensor(shape, scales, 0 if zeros is None else int(zeros[0]), data)


def line(graph: Graph) -> list[tuple[str, Layer, tuple[int, int, int]]]:
    """Return for each layer its operator's name, itself, and the shape of the map (height, width, channels) it takes.

    Raises
    ------
    ValueError
        The input is no map of one channel, the operators do not follow each other in one line from it to the output,
        or one is not covered; the message names it.
    """
    first, last = graph.tensor(graph.input), graph.tensor(graph.output)
    if len(first.shape) != 4 or first.shape[0] != 1 or first.shape[3] != 1:
        raise ValueError(f"input shape={first.shape} must be (1, n_mels, n_frames, 1)")
    layers, shape, at = [], first.shape[1:], graph.input
    for op in graph.operators:
        if op.inputs[0] != at or len(op.outputs) != 1:
            raise ValueError(f"{op.name} must take the output of the operator before it, and have one output")
        at = op.outputs[0]
        layer = layer_of(op, graph, shape, [layer for _, layer, _ in layers])
        if layer:
            if min(*layer.kernel, *layer.strides) < 1:
                raise ValueError(
                    f"{op.name}: kernel={layer.kernel}, strides={layer.strides} must be at least 1 each way"
                )
            if isinstance(layer, Depthwise) and layer.filters % shape[2]:
                raise ValueError(f"{op.name}: filters={layer.filters} must be a multiple of {shape[2]} channels")
            layers.append((op.name, layer, shape))
            shape = (*layer.size(*shape[:2]), layer.filters or shape[2])
            if min(shape) < 1:
                raise ValueError(f"{op.name}: output shape={shape} must be at least 1 each way")
        if int(np.prod(graph.tensor(at).shape)) != int(np.prod(shape)):
            raise ValueError(f"{op.name}: output shape={graph.tensor(at).shape} must hold {shape}")
    if shape[:2] != (1, 1) or at != graph.output:
        raise ValueError(f"output shape={last.shape}, height and width {shape[:2]}, must be one position")
    return layers


def layer_of(op: Operator, graph: Graph, shape: tuple[int, int, int], before: list[Layer]) -> Layer | None:
    """Return the layer of an operator on a map [shape=(height, width, channels)], None where `before` takes it up."""
    x, y, options = graph.tensor(op.inputs[0]), graph.tensor(op.outputs[0]), op.options
    match op.name:
        case "RESHAPE" if y.shape == x.shape or y.shape == (1, int(np.prod(shape))):
            return None  # a fully connected layer reads the map in the same order
        case "LEAKY_RELU" | "RELU" | "LOGISTIC":
            if not before:
                raise ValueError(f"{op.name} must not be the first operator")
            before[-1].then(ELEMENTWISE[op.name](x, y, options))
            return None
        case "CONV_2D" | "DEPTHWISE_CONV_2D" | "FULLY_CONNECTED":
            weights, kernel, strides = _weights(op, graph, shape)
            rescale = _rescale(op, graph, x, y, weights.shape[-1])
            layer = (Depthwise if op.name == "DEPTHWISE_CONV_2D" else Conv)(kernel, strides, weights, rescale)
            layer.outside = x.zero_point
        case "AVERAGE_POOL_2D" | "MAX_POOL_2D":
            kernel, strides = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
            layer = (MaxPool if op.name == "MAX_POOL_2D" else AveragePool)(kernel, strides)
        case "MEAN" | "REDUCE_MAX":
            axes = graph.tensor(op.inputs[1], "INT32").data
            if len(x.shape) != 4 or axes is None or sorted(int(a) % 4 for a in axes.ravel()) != [1, 2]:
                raise ValueError(f"{op.name} must go over the axes 1 and 2 of a map")
            return MaxPool(shape[:2], (1, 1)) if op.name == "REDUCE_MAX" else _mean(x, y, shape)
        case _:
            raise ValueError(f"operator {op.name} from shape {x.shape} to {y.shape} is not covered")
    if getattr(options, "padding", None) == SAME:
        layer.pads = _pads(shape, layer.kernel, layer.strides)
    layer.then(elementwise.activation(options.fusedActivationFunction, y))
    return layer


def _pads(shape, kernel, strides) -> tuple[tuple[int, int], ...]:
    """Return what SAME adds before and behind the height, and the width: ComputePaddingHeightWidth."""
    spans = [(-(-n // s) - 1) * s + k for n, k, s in zip(shape[:2], kernel, strides, strict=True)]
    lacking = [max(0, span - n) for span, n in zip(spans, shape[:2], strict=True)]
    return tuple((n // 2, n - n // 2) for n in lacking)


def _weights(op: Operator, graph: Graph, shape) -> tuple[np.ndarray, tuple[int, int], tuple[int, int]]:
    """Return weights as `Conv` or `Depthwise` takes them, kernel and strides."""
    weights, options = graph.tensor(op.inputs[1]), op.options
    if weights.data is None or weights.zero_point:
        raise ValueError(f"{op.name}: weights must be constant, with zero_point={weights.zero_point} 0")
    if op.name == "FULLY_CONNECTED":
        if weights.shape[1] != int(np.prod(shape)):
            raise ValueError(f"{op.name}: weights of {weights.shape[1]} inputs must span the map {shape}")
        return weights.data.T, shape[:2], (1, 1)
    if options.dilationHFactor != 1 or options.dilationWFactor != 1:
        raise ValueError(f"{op.name}: dilation={options.dilationHFactor} x {options.dilationWFactor} must be 1 x 1")
    filters, *kernel, channels = weights.shape
    strides = (options.strideH, options.strideW)
    if op.name == "DEPTHWISE_CONV_2D":
        return weights.data[0].astype(np.int32), tuple(kernel), strides
    if channels != shape[2]:
        raise ValueError(f"{op.name}: weights of {channels} channels must take all {shape[2]} of the map")
    return weights.data.reshape(filters, -1).T, tuple(kernel), strides


def _rescale(op: Operator, graph: Graph, x: Tensor, y: Tensor, filters: int) -> Rescale:
    weights = graph.tensor(op.inputs[1])
    bias = np.zeros(filters, np.int64)
    if len(op.inputs) > 2 and op.inputs[2] >= 0:
        bias += graph.tensor(op.inputs[2], "INT32").data
    # The input's zero point belongs to every product: taken out of the sums, it is one number for each filter.
    axes = tuple(range(3)) if op.name == "DEPTHWISE_CONV_2D" else tuple(range(1, weights.data.ndim))
    bias -= x.zero_point * weights.data.astype(np.int64).sum(axis=axes)
    scales = float(x.scale) * weights.scales.astype(np.float64)
    factors = np.array([quantized(scale / float(y.scale)) for scale in np.broadcast_to(scales, filters)])
    return Rescale(bias, *np.ascontiguousarray(factors.T), y.zero_point)


def _mean(x: Tensor, y: Tensor, shape: tuple[int, int, int]) -> Depthwise:
    count, (multiplier, shift) = shape[0] * shape[1], quantized(float(x.scale) / float(y.scale))
    by = min(count.bit_length() - 1, 32, 31 + shift)
    ones = np.ones(shape[2], np.int64)
    rescale = Rescale(
        ones * -x.zero_point * count, ones * ((multiplier << by) // count), ones * (shift - by), y.zero_point
    )
    return Depthwise(shape[:2], (1, 1), np.ones(shape, np.int32), rescale)
