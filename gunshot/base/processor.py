"""The same bytes on every x86-64-v3 processor: what libraries choose by processor is chosen here, before they load.

`gunshot` imports this module before anything else. Where NumPy was loaded before `gunshot` was, its loops are already
chosen, and the last bits of what is rendered and trained may be another processor's.
"""

import os

NEEDED = {"avx2", "bmi2", "fma"}  # of x86-64-v3; an older or another processor is left as it is, and gives other bytes
PINS = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",  # all that NumPy 2.4 knows above X86_V3
    "OPENBLAS_CORETYPE": "Haswell",  # of NumPy's and SciPy's
    "NUMBA_CPU_NAME": "x86-64-v3",
    "NUMBA_CPU_FEATURES": "",  # no more than the name says
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # of the products of matrices in TensorFlow
    "TF_ENABLE_ONEDNN_OPTS": "0",  # its other kernels choose the order of sums by machine
}


def flags() -> set[str]:
    """Return what Linux says that the first processor can do; nothing on another system or architecture."""
    try:
        with open("/proc/cpuinfo") as lines:
            return set(next((line for line in lines if line.startswith("flags")), "").split())
    except OSError:
        return set()


if flags() >= NEEDED:
    for name, value in PINS.items():
        os.environ.setdefault(name, value)  # what a person sets stays
