"""The firmware's port for Python, called as its package calls it: by the package's own module."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

from gunshot.device.emulator import FirmwareError

SOURCE = Path("ports/runtime")  # in firmware/


def native(firmware: Path) -> ModuleType:
    """Return the module that calls the library: gunshot_runtime/_native.py of the port.

    Raises
    ------
    FirmwareError
        cffi is not installed.
    """
    spec = importlib.util.spec_from_file_location("_native", firmware / SOURCE / "gunshot_runtime/_native.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as e:
        raise FirmwareError(
            f"{e.name} must be installed to run the port runtime: `pip install gunshot[runtime]`"
        ) from None
    return module


def run(library: Path, pcm: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return codes, logits and shots, as `Heard` of the package has them, of int16 samples [shape=(n,)].

    Parameters
    ----------
    library : gunshot.so in a folder of `emulator.build`

    Raises
    ------
    FirmwareError
        cffi is not installed.
    FileNotFoundError
        There is no such library.
    """
    if not library.is_file():
        raise FileNotFoundError(f"{library}: no such library; make it with `make firmware`")
    firmware = library.resolve().parents[2]
    module = native(firmware)
    return module.Stream(module.Library(library.resolve(), firmware / SOURCE / "runtime.h")).hear(pcm)
