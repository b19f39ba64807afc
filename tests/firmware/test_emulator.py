"""Building, running and counting without a board: what is missing is named, what differs is told. Needs no QEMU."""

import re
import subprocess

import pytest

from gunshot.device import cost, emulator
from tests.firmware.backends import SRC


@pytest.mark.parametrize(("name", "package"), emulator.PACKAGES.items())
def test_a_missing_program_is_named_with_its_package(monkeypatch, tmp_path, name, package):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{name}: .*apt install {package}"):
        emulator.tool(name)


def test_a_run_without_qemu_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "program").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="qemu-system-arm"):
        emulator.run(tmp_path / "program", "mps2-an386", folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="cmake"):
        emulator.build("host", firmware=tmp_path)


def test_what_cannot_run_is_refused(tmp_path):
    (tmp_path / "program").touch()
    with pytest.raises(ValueError, match="port='mps9' must be one of host"):
        emulator.run(tmp_path / "program", "mps9", folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="make firmware"):
        emulator.run(tmp_path / "none", "host", folder=tmp_path)
    for arguments in (["a b"], ["a,b"], ["a" * 300]):
        with pytest.raises(ValueError, match="must hold no blank"):
            emulator.run(tmp_path / "program", "mps2-an386", arguments, folder=tmp_path)


MAP = """Discarded input sections

 .text.gone     0x00000000       0x99 CMakeFiles/core.dir/src/gone.c.obj

Linker script and memory map

.text           0x00000000       0x60
 .text.a        0x00000000       0x10 CMakeFiles/core.dir/src/a.c.obj
                0x00000000                a
 *fill*         0x00000010        0x2
 .rodata.gunshot_network_weights
                0x00000012       0x20 CMakeFiles/core.dir/generated/network.c.obj
 .rodata.f.str1.1
                0x00000032        0x4 CMakeFiles/core.dir/ports/wav.c.obj
                                  0x3 (size before relaxing)
 .rodata.g.str1.1
                0x00000032        0x8 CMakeFiles/core.dir/ports/wav.c.obj
 .text.log10f   0x0000003a        0x6 /usr/lib/libm.a(lib_a-wf_log10.o)
 .rodata.twiddle  0x00000040      0x10 libcmsis_dsp.a(arm_common_tables.c.obj)
 .text.cfft     0x00000050       0x10 libcmsis_dsp.a(arm_cfft_f32.c.obj)

.stack          0x20000000       0x40
 *fill*         0x20000000       0x40

.bss            0x20000040       0x18
 .bss.ring      0x20000040       0x10 CMakeFiles/core.dir/src/main.c.obj
 .bss           0x20000050        0x8 /usr/lib/libc_nano.a(lib_a-impure.o)

.debug_info     0x00000000     0x759d
 .debug_info    0x00000000      0x26e CMakeFiles/core.dir/src/a.c.obj
"""


def test_a_map_is_flash_and_ram_by_part():
    sizes = cost.sizes(MAP)
    assert sizes["flash"] == {"libc": 6, "weights": 32, "tables": 16, "port": 8, "code": 32, "padding": 2}
    assert sizes["ram"] == {"stack": 64, "ring": 16, "libc": 8}
    assert (sizes["flash_bytes"], sizes["ram_bytes"]) == (0x60, 0x58)


def test_counts_are_of_a_window():
    lines = ["frames=33", "windows=2", "features=330", "scratch=300", "inference=40", "total=500", "stack=9"]
    counts = cost.counts(["some words", *lines])
    assert cost.instructions(counts, hop=8) == {"features": 80, "scratch": 300, "inference": 20, "total": 250}
    for i in range(len(lines)):
        with pytest.raises(ValueError, match=f"must state {lines[i].split('=')[0]}"):
            cost.counts(lines[:i] + lines[i + 1 :])


@pytest.mark.parametrize(("total", "count"), [(98, 0), (102, 0), (97, 1), (103, 1), (None, 1)])
def test_a_budget_is_kept_within_two_percent_either_way(total, count):
    deep = {"instructions": {"total": total} if total else {}, "unbudgeted": 5}
    words = cost.over({"instructions": {"total": 100}}, deep)
    assert len(words) == count and all("instructions.total=" in word for word in words)


def test_no_status_can_be_ignored(tmp_path):
    """Each function that returns one is CHECKED, and a call that ignores it fails."""
    headers = [*SRC.glob("*.h"), *(SRC.parent / "ports").rglob("*.h")]
    lines = [line for path in headers for line in path.read_text().splitlines()]
    given = [line for line in lines if re.match(r"(GUNSHOT_CHECKED )?gunshot_(status|ota_verdict) \w+\(", line)]
    assert len(given) >= 9 and all(line.startswith("GUNSHOT_CHECKED ") for line in given)
    head = '#include "model.h"\nstatic int8_t x[9];\nstatic int16_t y;\n'
    score = "gunshot_model_score(x, &y)"
    for body, fails in ((f"{score};", True), (f"(void){score};", True), (f"if ({score}) y = 0;", False)):
        (tmp_path / "f.c").write_text(f"{head}int main(void) {{ {body} }}\n")
        command = ["gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-I", SRC, "-c", "f.c"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode != 0) == ("unused-result" in done.stderr) == fails, done.stderr
