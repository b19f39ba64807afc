"""What the int8 artifact would cost on an Ethos-U55 beside a Cortex-M55, as Arm's compiler Vela estimates it."""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from gunshot.models.network import quantize

# An Ethos-U55 of 128 MACs a cycle, on the system and with the memories of Arm's Corstone-300.
ACCELERATOR, SYSTEM, MEMORY = "ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram"
OPTIONS = ("--accelerator-config", ACCELERATOR, "--config", "Arm/vela.ini", "--system-config", SYSTEM, "--memory-mode",
           MEMORY)  # fmt: skip


def estimate(model: bytes) -> dict[str, str | float | int | list[str]]:
    """Return what Vela says of a .tflite model compiled for an Ethos-U55. It is an estimate; nothing is run.

    Returns
    -------
    dict
        ``accelerator``; ``clock_hz``; ``cycles`` and ``inferences_per_s`` of one window; ``sram_bytes`` and
        ``flash_bytes``; ``cpu_operators``, those that are left to the Cortex-M, by the schema's names.

    Raises
    ------
    ValueError
        Vela does not compile the model, or is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.tflite"
        source.write_bytes(model)
        command = [sys.executable, "-m", "ethosu.vela", *OPTIONS, "--output-dir", folder, str(source)]
        done = subprocess.run(command, capture_output=True, text=True)
        compiled = Path(folder) / "model_vela.tflite"
        if done.returncode or not compiled.exists():
            said = (done.stderr + done.stdout).strip().splitlines()
            raise ValueError(
                f"vela, status {done.returncode}, must compile the model: {said[-1] if said else 'it said nothing'}; "
                "where it is missing, `pip install gunshot[ethos]`"
            )
        with open(Path(folder) / f"model_summary_{SYSTEM}.csv", newline="") as file:
            (row,) = csv.DictReader(file)
        left = set(quantize.operators(compiled.read_bytes())) - {"CUSTOM"}  # one custom operator is all of the NPU's
    flash = float(row["on_chip_flash_memory_used"]) + float(row["off_chip_flash_memory_used"])
    return {
        "accelerator": ACCELERATOR,
        "clock_hz": float(row["core_clock"]),
        "cycles": int(row["cycles_total"]),
        "inferences_per_s": float(row["inferences_per_second"]),
        "sram_bytes": round(1024 * float(row["sram_memory_used"])),
        "flash_bytes": round(1024 * flash),
        "cpu_operators": sorted(left),
    }
