"""What a device that listens draws, a Cortex-M4F at 64 MHz: reckoned from counted instructions, and never measured.

No value of ASSUMED was measured on a board of ours: DOC/energy.md says where each is from.
"""

BOARD = "mps2-an386"  # the Cortex-M4F whose instructions are counted
DAY_S = 86_400.0
ASSUMED = {
    "clock_hz": 64e6,
    "supply_v": 3.0,
    "running_ma_per_mhz": 0.052,  # of the processor, from flash with its cache, by a DC/DC converter
    "microphone_ma": 0.65,  # a PDM microphone, always on
    "interface_ma": 1.4,  # the clock at 64 MHz, which never stops while sound comes, and what brings samples to RAM
    "cycles_an_instruction": {"least": 1.0, "most": 2.0},  # loads take two, a taken branch up to four; flash may wait
}


def reckon(instructions: int, *, window_s: float) -> dict[str, dict | str]:
    """Return what reports/firmware.json says of energy, with what is assumed.

    For the least and the most cycles an instruction: ``busy``, the share of time in which the processor runs, above 1
    where it cannot keep up; ``processor_ma`` and ``all_ma``, mean currents; ``window_uj``, what the processor takes for
    a window; ``day_j`` and ``day_mah``, what microphone, interface and processor take in a day.

    Parameters
    ----------
    instructions : of the application, for one window
    window_s : from one window to the next

    Raises
    ------
    ValueError
        Nothing was counted.
    """
    if instructions < 1 or window_s <= 0:
        raise ValueError(f"instructions={instructions}, window_s={window_s:g} must be above 0: count them first")
    cycles = ASSUMED["cycles_an_instruction"].items()
    return {
        "note": "reckoned from instructions, not measured; DOC/energy.md says where each assumption is from",
        "board": BOARD,
        "instructions": instructions,
        "assumed": ASSUMED,
        **{name: _drawn(instructions * each / ASSUMED["clock_hz"], window_s) for name, each in cycles},
    }


def _drawn(running_s: float, window_s: float) -> dict[str, float]:
    """Return what is drawn where the processor runs for `running_s` of each window."""
    a, busy = ASSUMED, running_s / window_s
    running_ma = a["running_ma_per_mhz"] * a["clock_hz"] / 1e6
    processor_ma = min(busy, 1.0) * running_ma
    all_ma = a["microphone_ma"] + a["interface_ma"] + processor_ma
    return {
        "busy": round(busy, 3),
        "processor_ma": round(processor_ma, 2),
        "all_ma": round(all_ma, 2),
        "window_uj": round(1e3 * running_ma * a["supply_v"] * running_s, 1),
        "day_j": round(1e-3 * all_ma * a["supply_v"] * DAY_S),
        "day_mah": round(all_ma * DAY_S / 3600, 1),
    }
