"""The same sums on processors with other caches: those that Eigen sees are the oldest processors', on all of them.

Eigen, of which TensorFlow's convolutions are built, asks the processor how large its caches are, and cuts a sum into
parts that fit into the first: 48 kB give other last bits than 32 kB, of a logit and of a gradient, and after some steps
another network. TensorFlow has no setting for it. So what Eigen keeps of the answer is looked for in the library's
memory, and overwritten there.
"""

import ctypes
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

SIZES = 32 << 10, 512 << 10, 32 << 20  # bytes of the first, second and third cache
LIBRARY = "libtensorflow_cc.so"  # with the convolutions
MOST = 16  # places, at most: there is one for each part of the library that was compiled on its own
QUERY = "_ZN5Eigen8internal15queryCacheSizesERiS1_S1_"  # void Eigen::internal::queryCacheSizes(int&, int&, int&)


def pin() -> bool:
    """Set the sizes that Eigen keeps to SIZES; return whether a place is known where it keeps them."""
    for sizes in kept():
        sizes[:] = SIZES
    return bool(kept())


@cache
def kept() -> list[np.ndarray]:
    """Return the places where Eigen keeps the three sizes, int64 [shape=(3,)] each, in the memory of this process.

    There is none where TensorFlow is of another processor, of another system, or built in another way.
    """
    try:
        known = queried()
        places = [sizes for segment in _segments() for sizes in _equal(segment, known)]
    except (AttributeError, OSError, StopIteration):
        return []
    # A processor that does not tell its caches has zeros or -1, as has much else.
    return places if min(known) > 0 and len(places) <= MOST else []


def queried() -> tuple[int, ...]:
    """Return the sizes of the three caches as the processor tells them to Eigen, bytes."""
    import tensorflow as tf

    library = next(Path(tf.__file__).parent.glob("libtensorflow_framework.so*"))
    sizes = [ctypes.c_int() for _ in range(3)]
    ctypes.CDLL(str(library))[QUERY](*map(ctypes.byref, sizes))
    return tuple(size.value for size in sizes)


def _segments() -> Iterator[np.ndarray]:
    """Yield the library's writable memory, int64: what the file initializes, and what follows it, zero at first."""
    import tensorflow as tf

    tf.nn.conv2d(tf.ones((1, 3, 3, 1)), tf.ones((3, 3, 1, 1)), 1, "VALID")  # the first one asks for the sizes
    after = None  # where the library's last mapping ends
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, _, *file = line.split(maxsplit=5)
        begin, end = (int(address, 16) for address in span.split("-"))
        own = LIBRARY in file[0] if file else begin == after
        after = end if own and file else None
        if own and "w" in rights:
            yield np.ctypeslib.as_array((ctypes.c_int64 * ((end - begin) // 8)).from_address(begin))


def _equal(segment: np.ndarray, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Return the views of a segment that hold these three numbers."""
    at = np.lib.stride_tricks.sliding_window_view(segment, len(sizes)) == sizes
    return [segment[i : i + len(sizes)] for i in np.flatnonzero(at.all(axis=1))]
