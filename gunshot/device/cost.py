"""What the firmware costs on a port: flash and RAM by part, from the linker's map, and instructions, from a trace."""

import re

FLASH, RAM = (".text", ".ARM.exidx", ".data"), (".stack", ".data", ".bss")  # output sections, firmware/ports/cortex-m
PARTS = {  # by what the object's path holds, the first that does
    "libc": r"\.a\(|\.a$|/crt",
    "weights": r"generated/(network|model)\.c|src/model_forest\.c",
    "tables": r"generated/tables\.c",
    "port": r"/ports/",
    "code": r"/src/",
}
FFT = r"libcmsis_dsp\.a\((arm_common_tables|arm_const_structs|arm_mve_tables)?"
CLOCK_HZ = 80_000_000  # at which an estimate in ms is stated
TOLERANCE = 0.02  # by which a figure may differ from its budget
COUNTS = ("features", "scratch", "inference", "total")

_OUTPUT = re.compile(r"^(\.\S+)(?:\s+0x\w+\s+0x(\w+))?")
_INPUT = re.compile(r"^ (\S+)\s+0x(\w+)\s+0x(\w+)(?: (\S.*))?$")


def _part(section: str, path: str) -> str:
    if fft := re.search(FFT, path):
        return "tables" if fft[1] or section.startswith(".rodata") else "code"
    return next((part for part, rule in PARTS.items() if re.search(rule, path)), "port")


def sections(linked: str) -> list[tuple[str, str, str, int]]:
    """Return (output section, input section, object, bytes) of what GNU ld's map says was linked."""
    lines = linked.split("Linker script and memory map", 1)[-1]
    lines = re.sub(r"^( ?\S+)\n +0x", r"\1 0x", lines, flags=re.MULTILINE)  # a long name has a line of its own
    out, parts = "", {}
    for line in map(str.rstrip, lines.splitlines()):
        if head := _OUTPUT.match(line):
            out = head[1]
        elif (part := _INPUT.match(line)) and int(part[3], 16):
            # Strings that are merged are stated twice, at one address: the last line is of all.
            parts[out, int(part[2], 16)] = (out, part[1], part[4] or "", int(part[3], 16))
    return list(parts.values())


def flash(linked: str) -> dict[str, int]:
    """Return the bytes of flash by part: weights, tables, code, port, libc; padding counts to none of them."""
    out = dict.fromkeys([*PARTS, "padding"], 0)
    for section, name, path, size in sections(linked):
        if section in FLASH:
            out["padding" if name == "*fill*" else _part(name, path)] += size
    return out


def ram(linked: str) -> dict[str, int]:
    """Return the bytes of RAM by part: the stack that is set aside, each variable of firmware/src, port and libc."""
    out: dict[str, int] = {}
    for section, name, path, size in sections(linked):
        if section in RAM:
            key = "stack" if section == ".stack" else "padding" if name == "*fill*" else _owner(name, path)
            out[key] = out.get(key, 0) + size
    return out


def _owner(section: str, path: str) -> str:
    part = _part(section, path)
    variable = re.match(r"\.(?:bss|data)\.(\w+)", section)  # -fdata-sections: each has a section of its own
    return variable[1] if part == "code" and variable else part


def counts(lines: list[str]) -> dict[str, int]:
    """Return what gunshot_trace says at its end: frames, windows, stack in bytes, and instructions of all windows.

    Raises
    ------
    ValueError
        A count is missing: the program did not come to its end.
    """
    numbers = {key: int(value) for key, value in re.findall(r"^(\w+)=(\d+)$", "\n".join(lines), flags=re.MULTILINE)}
    if missing := [name for name in (*COUNTS, "frames", "windows", "stack") if name not in numbers]:
        raise ValueError(f"trace={lines[-3:]} must state {', '.join(missing)}")
    return numbers


def instructions(numbers: dict[str, int], *, hop: int) -> dict[str, int]:
    """Return the instructions of a window: `features` of its `hop` new frames, `inference`, `total` of the application.

    `scratch` is what the features of a whole window take, as the first one does.
    """
    windows, frames = numbers["windows"], numbers["frames"]
    return {
        "features": round(numbers["features"] * hop / frames),
        "scratch": numbers["scratch"],
        "inference": round(numbers["inference"] / windows),
        "total": round(numbers["total"] / windows),
    }


def sizes(linked: str) -> dict[str, int | dict[str, int]]:
    """Return flash and RAM of a linker's map, in bytes: of all, and by part."""
    by_flash, by_ram = flash(linked), ram(linked)
    return {
        "flash_bytes": sum(by_flash.values()),
        "ram_bytes": sum(by_ram.values()),
        "flash": by_flash,
        "ram": by_ram,
    }


def over(budget: dict, measured: dict, *, tolerance: float = TOLERANCE) -> list[str]:
    """Return, in words, which figures differ from their budget by more than `tolerance`, up or down.

    Both are figures by name, of figures or of other such dicts; what has no budget is not looked at.
    """
    out = []
    for name, stated in budget.items():
        if isinstance(stated, dict):
            out += [f"{name}.{words}" for words in over(stated, measured.get(name, {}), tolerance=tolerance)]
        elif name not in measured or abs(measured[name] - stated) > tolerance * stated:
            out.append(
                f"{name}={measured.get(name)} must be within {tolerance:.0%} of {stated}, or the budget be changed"
            )
    return out
