"""A network's layers as steps that write to either end of an arena in turn, and their constants as one block.

The steps are two parts. The trunk gives vectors: what it makes of all bands, one each stride in time. The head makes
the outputs of a window of them. Windows of a stream overlap, so that a device runs the trunk on new frames alone.
"""

import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from gunshot.models.int8 import elementwise
from gunshot.models.int8.graph import Graph, line
from gunshot.models.int8.layers import AveragePool, Conv, Depthwise, Layer, MaxPool, Rescale

VERSION = 1  # of the block: what is in it, and how it lies
ALIGNMENT = 16  # of the arena
MOST_SHIFT = 30  # of a sum, 32 bits, to the left
Map = tuple[int, int, int]  # height, width, channels; height is time here, as the device's frames lie


@dataclass
class Step:
    """A call of a kernel on a window that moves over the map `size_in` and gives the map `size_out`."""

    kernel: str
    operator: str
    size_in: Map
    size_out: Map
    window: tuple[int, int]
    strides: tuple[int, int]
    before: tuple[int, int]
    constants: dict[str, np.ndarray] = field(default_factory=dict)  # name: int32 or int8, shapes () or (n,)
    padded: bool = False  # in time
    patch: int = 0  # bytes of room for what lies under the kernel


@dataclass
class Part:
    """Steps that follow each other. The first reads and the last writes what the caller holds, outside the arena."""

    steps: list[Step]
    first: int  # number of the first step in the network

    @property
    def maps(self) -> list[int]:
        """The bytes in the arena of the map that each step reads, and of the map that the last one writes."""
        return [0, *(int(np.prod(step.size_out)) for step in self.steps[:-1]), 0] if self.steps else [0]

    @property
    def peak(self) -> int:
        """The bytes in the arena at most: a step reads a map at one end, writes one at the other, its patch between."""
        maps = self.maps
        return max((a + b + s.patch for a, b, s in zip(maps[:-1], maps[1:], self.steps, strict=True)), default=0)


@dataclass
class Plan:
    """A network as trunk and head, and what they share: shapes, scales, arena."""

    trunk: Part
    head: Part
    positions: int  # in time, of the vectors that the head reads
    stride: int  # frames from one position to the next
    header: dict[str, np.ndarray]  # of `block`, without its CRC, version and size

    @property
    def steps(self) -> list[Step]:
        """All steps, in their order."""
        return self.trunk.steps + self.head.steps

    @property
    def frames(self) -> int:
        """The frames that the trunk reads at once."""
        return self.trunk.steps[0].size_in[0]

    @property
    def new(self) -> int:
        """The positions that the trunk gives at once: those of a window that the window before does not have."""
        return self.trunk.steps[-1].size_out[0]

    @property
    def vector(self) -> int:
        """The codes of a position."""
        return self.trunk.steps[-1].size_out[2]

    @property
    def outputs(self) -> int:
        """The number of output codes."""
        return self.steps[-1].size_out[2]

    @cached_property
    def arena_bytes(self) -> int:
        """The smallest arena; trunk and head use it in turn."""
        peak = max(self.trunk.peak, self.head.peak)
        return max(ALIGNMENT, -(-peak // ALIGNMENT) * ALIGNMENT)

    def members(self) -> dict[str, np.ndarray]:
        """Return the members of the block by name in their order: first those of 4 bytes, so that none is padded."""
        each = {f"{name}{i}": value for i, step in enumerate(self.steps) for name, value in step.constants.items()}
        words = {name: value for name, value in each.items() if value.itemsize == 4}
        small = {name: value for name, value in each.items() if value.itemsize == 1}
        first = {"crc32": np.uint32(0), "version": np.uint32(VERSION), "size": np.uint32(0), **self.header}
        members = {name: np.asarray(value) for name, value in (first | words | small).items()}
        if rest := -sum(value.nbytes for value in small.values()) % 4:
            members["rest"] = np.zeros(rest, np.int8)
        members["size"] = np.asarray(sum(value.nbytes for value in members.values()), np.uint32)
        members["crc32"] = np.asarray(zlib.crc32(packed(members)[4:]), np.uint32)
        return members


def packed(members: dict[str, np.ndarray]) -> bytes:
    """Return members as bytes, little-endian."""
    return b"".join(value.astype(value.dtype.newbyteorder("<")).tobytes() for value in members.values())


def plan(model: bytes, *, hop: int) -> Plan:
    """Return the steps of a .tflite model, int8 in and out, on codes frame by frame.

    The trunk ends with the first layer whose output spans all bands, and gives as many positions at once as windows
    are apart, `hop` frames. Where a window has one position there, or layers before it pad in time, so that they see a
    window's edge, the trunk reads the whole window each time.

    In the file height is frequency and width is time. The device has its codes frame by frame, so height and width
    of every layer are exchanged: the same sums of whole numbers, in another order.

    Raises
    ------
    ValueError
        An operator, type or topology is not covered, a sum may exceed 32 bits, or the hop is no multiple of the
        stride in time; the message names it.
    """
    graph = Graph(model)
    steps = [_step(name, layer, shape) for name, layer, shape in line(graph)]
    first, last = graph.tensor(graph.input), graph.tensor(graph.output)
    header = {"n_frames": np.uint32(first.shape[2]), "n_mels": np.uint32(first.shape[1])}
    for name, tensor in (("input", first), ("output", last)):
        header |= {f"{name}_scale": np.float32(tensor.scale), f"{name}_zero_point": np.int32(tensor.zero_point)}
    end = _trunk_end(steps)
    positions, stride = steps[end - 1].size_out[0], int(np.prod([step.strides[0] for step in steps[:end]]))
    if positions > 1 and (hop < 1 or hop % stride):
        raise ValueError(f"hop={hop} must be a multiple of the network's stride in time, {stride}")
    trunk = steps[:end] if positions == 1 else _of_positions(steps[:end], min(positions, hop // stride))
    return Plan(Part(trunk, 0), Part(steps[end:], end), positions, stride, header)


def _trunk_end(steps: list[Step]) -> int:
    """Return the number of the trunk's steps."""
    padded = np.logical_or.accumulate([step.padded for step in steps])
    each = zip((step.size_out for step in steps), padded, strict=True)
    ends = [bands == 1 and (positions == 1 or not edge) for (positions, bands, _), edge in each]
    return 1 + ends.index(True)  # the last has one position in all


def _of_positions(steps: list[Step], positions: int) -> list[Step]:
    """Return steps without pads in time on as few frames as give so many positions."""
    lengths = [positions]
    for step in reversed(steps):
        lengths.insert(0, (lengths[0] - 1) * step.strides[0] + step.window[0])
    return [
        replace(step, size_in=(before, *step.size_in[1:]), size_out=(after, *step.size_out[1:]))
        for step, before, after in zip(steps, lengths[:-1], lengths[1:], strict=True)
    ]


def _step(name: str, layer: Layer, shape: Map) -> Step:
    constants, patch = {}, 0
    if np.any(layer.table != elementwise.CODES):
        constants["table"] = layer.table
    if isinstance(layer, Conv | Depthwise):
        constants |= _rescale(name, layer) | _weights(layer, shape)
        if np.any(layer.pads):
            constants["outside"] = np.asarray(layer.outside, np.int32)
        if np.any(layer.pads) or (layer.kernel[1] > 1 and layer.kernel[0] < shape[0]):  # else it lies in one piece
            patch = layer.kernel[0] * layer.kernel[1] * shape[2]
    kernel = {Conv: "conv", Depthwise: "depthwise", AveragePool: "average_pool", MaxPool: "max_pool"}[type(layer)]
    out = (*layer.size(*shape[:2]), layer.filters or shape[2])
    before = tuple(pad[0] for pad in layer.pads)
    sizes = map(_turned, (shape, out, layer.kernel, layer.strides, before))
    return Step(kernel, name, *sizes, constants=constants, padded=any(layer.pads[1]), patch=patch)


def _turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape with height and width exchanged."""
    height, width, *rest = map(int, shape)
    return (width, height, *rest)


def _rescale(name: str, layer: Conv | Depthwise) -> dict[str, np.ndarray]:
    scaled: Rescale = layer.rescale
    axes = tuple(range(layer.weights.ndim - 1))
    largest = int((np.abs(scaled.bias) + 128 * np.abs(layer.weights).astype(np.int64).sum(axis=axes)).max())
    if largest >= 2**31:
        raise ValueError(f"{name}: sums up to {largest} must be less than 2^31; its bias or weights are too large")
    if scaled.shift.max() > MOST_SHIFT:
        raise ValueError(f"{name}: a factor of 2^{scaled.shift.max()} must be at most 2^{MOST_SHIFT}")
    words = {"bias": scaled.bias, "multiplier": scaled.multiplier, "zero_point": scaled.zero_point}
    return {key: np.asarray(value, np.int32) for key, value in words.items()} | {"shift": scaled.shift.astype(np.int8)}


def _weights(layer: Conv | Depthwise, shape: Map) -> dict[str, np.ndarray]:
    """Return weights as the kernels take them, flat; empty where all are 1, as those of a mean."""
    if isinstance(layer, Depthwise):
        if np.all(layer.weights == 1):
            return {}
        turned = layer.weights.transpose(1, 0, 2)
    else:
        turned = layer.weights.reshape(*layer.kernel, shape[2], layer.filters).transpose(3, 1, 0, 2)
    return {"weights": turned.astype(np.int8).ravel()}
