"""gunshot export chunks: each chunk in a file of its own, whatever recordings are called."""

import numpy as np
import pytest

from gunshot.base import audio, tables
from gunshot.cli.options import counted, print_names
from gunshot.dataset import chunks
from tests.cli.test_commands import project, run  # noqa: F401 - fixtures


def exported(folder, pcm: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is exported of recordings cut into chunks of 4096 samples, by path."""
    listed = []
    for name, samples in pcm.items():
        audio.write_pcm(folder / "data/chunks" / name, samples, sr=16000)
        row = {"path": name, "class": "gun", "label": "rifle", "recording_group": "g", "source": "s"}
        starts = np.arange(0, len(samples), 4096)
        listed += chunks.rows(row, starts, np.full(len(starts), 5))
    tables.write(folder / "data/chunks/chunks.csv", tables.frame(listed, tables.CHUNK))
    side = [{"recording_group": "g", "side": "val", "class": "gun", "source": "s"}]
    tables.write(folder / "data/splits.csv", tables.frame(side, tables.SPLIT))
    assert run("export", "chunks", "out").exit_code == 0
    files = sorted((folder / "out").rglob("*.wav"))
    return {path.relative_to(folder / "out").as_posix(): audio.read_pcm(path, sr=16000) for path in files}


def test_chunks_are_exported_by_side_class_label_and_recording(project):  # noqa: F811
    pcm = np.random.default_rng(0).integers(-9000, 9000, 8192).astype(np.int16)
    parts = exported(project, {"mine/gun/a b.wav": pcm})
    assert list(parts) == ["val/gun/rifle/mine/gun/a b/0.wav", "val/gun/rifle/mine/gun/a b/4096.wav"]
    assert np.array_equal(np.concatenate(list(parts.values())), pcm)


def test_no_two_chunks_share_a_file(project):  # noqa: F811
    names = ["m/gun/a/b.wav", "m/gun/a_b.wav", "m/gun/a.wav#0.wav", "m/gun/a.wav"]
    parts = exported(project, {name: np.full(4096, i, np.int16) for i, name in enumerate(names)})
    assert sorted(int(part[0]) for part in parts.values()) == [0, 1, 2, 3]


@pytest.mark.parametrize("what", ["chunks", "tags"])
def test_an_empty_argument_names_no_folder(project, what):  # noqa: F811
    before = sorted(project.iterdir())
    done = run("export", what, "")
    assert done.exit_code == 2 and '"" must be the name of a folder or file; this folder is .' in " ".join(
        line.strip("│ ") for line in done.output.splitlines()
    )
    assert sorted(project.iterdir()) == before


def test_one_is_said_as_one(capsys):
    for names in ([], ["a\nb"], [str(i) for i in range(12)]):
        print_names("file is no audio", "files are no audio", names)
    first, second = capsys.readouterr().out.splitlines()
    assert first == r"1 file is no audio: a\nb"
    assert second == "12 files are no audio: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 ... and 2 more"
    assert [counted(n, "tag") for n in range(3)] == ["0 tags", "1 tag", "2 tags"]
