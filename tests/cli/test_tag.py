"""gunshot tag, import tags, export tags: what they write, what they leave alone, what they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from typer.testing import CliRunner

from gunshot import cli, tags
from gunshot.base import audio, tables
from gunshot.dataset import onsets
from gunshot.tags import Tag, catalogue
from stages import tag as stage

REPO = Path(__file__).parents[2]
SR = 16000


def recording(shots: list[int], n: int = 2 * SR, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y = 1e-3 * rng.standard_normal(n)
    for start in shots:
        y[start : start + 1600] += 0.5 * rng.standard_normal(1600) * np.exp(-np.arange(1600) / 80)
    return audio.to_int16(y)


RECORDINGS = {"gun/a, b.wav": [8000, 20000], "gun/deep/c.wav": [12000], "gun/silent.wav": [], "env/d.wav": [9000]}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with params.yaml and dvc.yaml, and an imported corpus m."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((REPO / name).read_bytes())
    fill(tmp_path / "data/raw/m")
    row = dict.fromkeys(tables.RECORDING, "x") | {"sr_found": SR, "duration_s": 2.0}
    rows = [row | {"path": f"m/{name}", "class": name[:3]} for name in RECORDINGS]
    tables.write(tmp_path / "data/raw/m/recordings.csv", tables.frame(rows, tables.RECORDING))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fill(folder: Path) -> None:
    for i, (name, shots) in enumerate(RECORDINGS.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pcm = recording(shots, seed=i) if shots else np.zeros(2 * SR, np.int16)
        sf.write(folder / name, pcm, SR, subtype="PCM_16")


def run(*args, code: int = 0) -> str:
    done = CliRunner().invoke(cli.app, list(map(str, args)), env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def fails(monkeypatch, *args) -> str:
    monkeypatch.setattr(sys, "argv", ["gunshot", *map(str, args)])
    with pytest.raises(SystemExit) as e:
        cli.main()
    assert isinstance(e.value.code, str) and "\n" not in e.value.code
    return e.value.code


def read(path: str) -> dict[str, list[Tag]]:
    by_path, bad = tags.read(path)
    assert bad == []
    return by_path


def near(tagged: list[Tag], shots: list[int]) -> bool:
    return len(tagged) == len(shots) and all(abs(t.start - s) < 0.015 * SR for t, s in zip(tagged, shots, strict=True))


def test_semicolons_in_data_tags_stop_tag_and_the_stage(project, monkeypatch):
    (project / "data/tags").mkdir()
    (project / "data/tags/m.csv").write_text("m/gun/deep/c.wav;12000\n")
    rule = "data/tags/m.csv: m/gun/deep/c.wav;12000: a line's parts must stand between commas, not semicolons; save"
    assert rule in fails(monkeypatch, "tag", "data/raw")
    with pytest.raises(ValueError, match=rule):
        stage.main(*map(Path, ("data/raw", "data/raw/m", "data/tags", "data/tagged")))
    assert (project / "data/tags/m.csv").read_text() == "m/gun/deep/c.wav;12000\n"


@pytest.mark.slow
def test_tag_finds_shots_of_a_corpus_and_keeps_what_a_person_said(project):
    Path("data/tags").mkdir()
    tags.write("data/tags/m.csv", {"m/gun/deep/c.wav": [Tag(5)], "later/gun/x.wav": [Tag(7)]})
    said = run("tag", "data/raw")
    tagged = read("data/tags/m.csv")
    assert set(tagged) == {"m/gun/a, b.wav", "m/gun/deep/c.wav", "later/gun/x.wav"}
    assert near(tagged["m/gun/a, b.wav"], [8000, 20000]) and tags.state(tagged["m/gun/a, b.wav"]) == "automatic"
    assert tagged["m/gun/deep/c.wav"] == [Tag(5)]
    assert "2 shots in 1 of 2 recordings, written to data/tags/m.csv" in said
    assert "1 recording was confirmed before and stays as it is" in said
    assert "1 recording without any onset found: m/gun/silent.wav" in said
    before = Path("data/tags/m.csv").read_bytes()
    assert "2 shots in 1 of 1 recording," in run("tag", "data/raw/m/gun/a, b.wav")
    assert Path("data/tags/m.csv").read_bytes() == before


@pytest.mark.slow
def test_tags_placed_blind_and_a_corpus_s_own_are_kept_too(project):
    Path("data/tags/blind").mkdir(parents=True)
    tags.write("data/tags/blind/m.csv", {"m/gun/a, b.wav": [Tag(1)]})
    tags.write("data/raw/m/tags.csv", {"m/gun/deep/c.wav": [Tag(2)]})
    assert "0 shots in 0 of 1 recording, written to no file" in run("tag", "data/raw/m")
    assert not Path("data/tags/m.csv").exists()


@pytest.mark.slow
def test_an_older_automatic_tag_is_replaced_also_by_none(project):
    Path("data/tags").mkdir()
    tags.write("data/tags/m.csv", {"m/gun/deep/c.wav": [Tag(5, 0.9)], "m/gun/silent.wav": [Tag(6, 0.9)]})
    run("tag", "data/raw/m")
    tagged = read("data/tags/m.csv")
    assert near(tagged["m/gun/deep/c.wav"], [12000]) and "m/gun/silent.wav" not in tagged


DOUBTFUL = [Tag(8000, 0.9), Tag(15000, 0.8)]  # of "a, b.wav"; at the second nothing rises


def test_an_automatic_tag_that_the_pipeline_would_refuse_is_not_written(project, monkeypatch):
    monkeypatch.setattr(onsets, "find", lambda pcm, **_: DOUBTFUL)
    said = run("tag", "data/raw/m/gun/a, b.wav")
    assert read("data/tags/m.csv") == {"m/gun/a, b.wav": DOUBTFUL[:1]}
    assert "1 recording has onsets that rise by less than validation.min_gun_rise_db=3 dB" in said
    assert "`gunshot annotate` shows them: m/gun/a, b.wav (1)" in said


@pytest.mark.slow
@pytest.mark.parametrize("confirmed", [False, True])
def test_the_stage_takes_automatic_tags_that_rise_and_all_that_a_person_confirmed(project, confirmed, capsys):
    Path("data/tags").mkdir()
    line = [tag._replace(confidence=None) for tag in DOUBTFUL] if confirmed else DOUBTFUL
    given = {"m/gun/a, b.wav": line, "m/gun/deep/c.wav": [Tag(20000, 0.6)], "m/gun/silent.wav": [Tag(900)]}
    tags.write("data/tags/m.csv", given)
    table = tables.read("data/raw/m/recordings.csv", tables.RECORDING)
    tables.write("data/grouped/recordings.csv", table)
    stage.main(*map(Path, ("data/raw", "data/grouped", "data/tags", "data/tagged")))
    tagged = read("data/tagged/tags.csv")
    assert tagged["m/gun/a, b.wav"] == (line if confirmed else DOUBTFUL[:1])
    assert tagged["m/gun/deep/c.wav"] == [] and tagged["m/gun/silent.wav"] == [Tag(900)]
    refused = tables.read("data/tagged/rejected.csv", tables.REJECTED)
    assert refused["file"].tolist() == ["m/gun/a, b.wav"] * (not confirmed) + ["m/gun/deep/c.wav"]
    assert f"0 rejected; {1 + (not confirmed)} automatic ones rise by less than 3 dB" in capsys.readouterr().out


@pytest.mark.slow
def test_a_plain_folder_gets_its_own_file_and_bad_audio_is_named(project):
    fill(Path("mine"))
    Path("mine/gun/broken.wav").write_bytes(b"RIFF no")
    Path("mine/gun/notes.txt").write_text("x")
    Path("mine/gun/gone.wav").symlink_to("nowhere.wav")
    said = run("tag", "mine", code=1)
    assert "1 link leads nowhere: gun/gone.wav" in said
    assert set(read("mine/tags.csv")) == {"gun/a, b.wav", "gun/deep/c.wav"}
    assert "1 recording cannot be read: gun/broken.wav" in said
    run("tag", "mine/env/d.wav")
    assert near(read("mine/env/tags.csv")["d.wav"], [9000])


def test_a_tag_file_with_a_bad_line_is_not_rewritten(project, monkeypatch):
    fill(Path("mine"))
    Path("mine/tags.csv").write_text("gun/deep/c.wav,soon\n")
    assert "mine/tags.csv:1: start 'soon'" in fails(monkeypatch, "tag", "mine")
    assert Path("mine/tags.csv").read_text() == "gun/deep/c.wav,soon\n"
    assert "must hold a recording" in fails(
        monkeypatch, "tag", "data/tags" if Path("data/tags").exists() else "data/raw/m/env"
    )


@pytest.mark.parametrize("where", ["raw", "mine"])
@pytest.mark.parametrize("format", ["audacity", "label-studio"])
def test_tags_go_out_and_come_back(project, where, format):
    Path("data/tags").mkdir()
    prefix, home, options = (
        ("m/", "data/tags/m.csv", []) if where == "raw" else ("", "mine/tags.csv", ["--recordings", "mine"])
    )
    fill(Path("mine"))
    content = {
        "gun/a, b.wav": [Tag(8000), Tag(20000)],
        "gun/deep/c.wav": [Tag(12000, 0.75), Tag(12001)],
        "gun/silent.wav": [],
    }
    tags.write(home, {prefix + name: placed for name, placed in content.items()})
    before = Path(home).read_bytes()
    out = Path("out" if format == "audacity" else "out.json")
    run("export", "tags", out, "--format", format, *options)
    Path(home).unlink()
    files = sorted(out.rglob("*.txt")) if format == "audacity" else [out]
    said = run("import", "tags", *files, *options)
    assert Path(home).read_bytes() == before
    assert "4 tags of 3 recordings" in said and "0 had others before" in said


def test_export_says_what_it_leaves_out(project):
    Path("data/tags").mkdir()
    tags.write(
        "data/tags/m.csv", {"m/gun/deep/c.wav": [Tag(12000)], "m/gun/gone.wav": [Tag(1)], "m/../../x.wav": [Tag(1)]}
    )
    said = run("export", "tags", "out")
    assert [p.as_posix() for p in Path("out").rglob("*.*")] == ["out/m/gun/deep/c.wav.txt"]
    assert "2 recordings have no tags and are left out: m/gun/a, b.wav, m/gun/silent.wav" in said
    assert "m/gun/gone.wav" in said and not list(project.parent.glob("x.wav*"))


def test_automatic_tags_that_come_in_do_not_replace_a_person_s(project):
    Path("data/tags").mkdir()
    tags.write("data/tags/m.csv", {"m/gun/deep/c.wav": [Tag(12000)]})
    Path("c.txt").write_text("0.1\t0.1\tshot@0.90\n0.2\t0.2\twind\n")
    said = run("import", "tags", "c.txt")
    assert "1 recording is confirmed" in said and "1 label means no shot" in said and ": wind" in said
    assert read("data/tags/m.csv") == {"m/gun/deep/c.wav": [Tag(12000)]}
    assert "1 recording is confirmed" in run("import", "tags", "c.txt", "--replace")
    assert read("data/tags/m.csv") == {"m/gun/deep/c.wav": [Tag(12000)]}


@pytest.mark.parametrize("text", ["0.1\t0.1\tshot\n", ""])
def test_confirmed_tags_are_replaced_on_request_alone(project, text):
    Path("data/tags").mkdir()
    tags.write("data/tags/m.csv", {"m/gun/deep/c.wav": [Tag(12000)]})
    Path("c.txt").write_text(text)
    said = run("import", "tags", "c.txt")
    assert "0 tags of 0 recordings" in said and "with --replace these take their place: m/gun/deep/c.wav" in said
    assert read("data/tags/m.csv") == {"m/gun/deep/c.wav": [Tag(12000)]}
    assert "1 had others before" in run("import", "tags", "c.txt", "--replace")
    assert read("data/tags/m.csv") == {"m/gun/deep/c.wav": [Tag(1600)] if text else []}


@pytest.mark.parametrize("options", [[], ["--replace"]])
def test_labels_that_mean_no_shot_are_listed_and_change_nothing(project, options):
    Path("data/tags").mkdir()
    tags.write("data/tags/m.csv", {"m/gun/deep/c.wav": [Tag(12000)]})
    Path("c.txt").write_text("0.1\t0.1\tno shot\n0.2\t0.2\tnail gun\n0.3\t0.3\tSchuß\n")
    choice = {"result": [{"type": "choices", "value": {"choices": ["gunshot"]}}]}
    Path("t.json").write_text(json.dumps([{"data": {"audio": "gun/deep/c.wav"}, "annotations": [choice]}]))
    for file in ("c.txt", "t.json"):
        said = run("import", "tags", file, *options)
        assert "0 tags of 0 recordings in no file" in said and "1 label track or task says nothing of shots" in said
        assert all(label in said for label in (["no shot", "nail gun", "Schuß"] if file == "c.txt" else ["'gunshot'"]))
        assert read("data/tags/m.csv") == {"m/gun/deep/c.wav": [Tag(12000)]}
    assert "1 tag of 1 recording in" in run("import", "tags", "c.txt", "--label", "schuss", "--replace")
    assert read("data/tags/m.csv") == {"m/gun/deep/c.wav": [Tag(4800)]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.txt", "9.0\t9.0\tshot\n", "m/gun/deep/c.wav: tag 144000: a tag must lie in the recording, 0 to 31999"),
        ("z.txt", "0.1\t0.1\tshot\n", "z: no recording's path ends like this"),
        ("z.doc", "", "suffix='.doc' must be .csv"),
        ("z.csv", "m/gun/deep/c.wav,x\n", "z.csv:1: start 'x'"),
        ("z.json", "[", "z.json: must be JSON"),
        ("d.txt", "0.1\t0.1\tshot\n", "d: no recording's path ends like this"),  # env holds no shot
    ],
)
def test_bad_files_are_named_and_nothing_is_written(project, monkeypatch, name, text, message):
    Path("good.json").write_text(json.dumps([{"data": {"audio": "a, b.wav"}, "annotations": [{"result": []}]}]))
    Path(name).write_text(text)
    assert message in fails(monkeypatch, "import", "tags", "good.json", name)
    assert not Path("data/tags").exists()


def test_one_recording_in_two_files_is_refused(project, monkeypatch):
    for name in ("c.txt", "deep.csv"):
        Path(name).write_text("0.1\t0.1\tshot\n" if name == "c.txt" else "gun/deep/c.wav,7\n")
    assert "m/gun/deep/c.wav is tagged twice" in fails(monkeypatch, "import", "tags", "c.txt", "deep.csv")


WORDS = {
    "tag": ["data/tags/CORPUS.csv", "confirmed"],
    "tag-report": ["reports/tagging.json", "15 ms"],
    "import tags": ["Audacity", "Label Studio", "--recordings", "confirmed", "--label", "--replace", "nail"],
    "export tags": ["--format", "audacity|label-studio", "--recordings"],
}


@pytest.mark.parametrize("command", WORDS)
def test_each_command_explains_itself(command):
    shown = run(*command.split(), "--help")
    assert all(word in shown for word in WORDS[command]), shown


@pytest.mark.slow
def test_the_report_measures_simulated_and_blind_tags(project, monkeypatch):
    from gunshot.studies import onsets as onset_study

    monkeypatch.setattr(onset_study, "PER_BAND", 8)
    Path("data/tags/blind").mkdir(parents=True)
    assert "real: no recording" in run("tag-report")
    tags.write("data/tags/blind/m.csv", {"m/gun/a, b.wav": [Tag(8000), Tag(20000)], "m/gun/silent.wav": [],
                                         "m/gun/deep/c.wav": [Tag(3, 0.9)]})  # fmt: skip
    run("tag-report")
    first = Path("reports/tagging.json").read_bytes()
    report = json.loads(first)
    assert report["simulated"]["f1"] > 2 * report["simulated"]["control"]["f1"]
    assert report["simulated"]["all"]["recordings"] == 32
    assert (report["real"]["f1"], report["real"]["shots"], report["real"]["recordings"]) == (1.0, 2, 2)
    run("tag-report")
    assert Path("reports/tagging.json").read_bytes() == first


@pytest.mark.slow
def test_recordings_that_no_tag_file_can_name_are_told_and_the_others_tagged(project, tmp_path):
    folder = tmp_path / "field"
    folder.mkdir()
    odd = {os.fsdecode(b"caf\xe9.wav"): "caf\\udce9.wav", " b.wav": " b.wav", "\ufeffc.wav": "\ufeffc.wav"}
    for name in ["a.wav", "two\nlines.wav", *odd]:
        sf.write(folder / "x", recording([8000]), SR, subtype="PCM_16", format="WAV")
        (folder / "x").rename(folder / name)
    said = run("tag", folder)
    assert f"3 recordings are left out: {catalogue.UNNAMED}: " in said and all(name in said for name in odd.values())
    assert set(read(folder / "tags.csv")) == {"a.wav", "two\nlines.wav"}
    assert set(catalogue.listed(folder, Path("raw"), Path("tags")).unnamed) == set(odd.values())
    with pytest.raises(ValueError, match=r"caf\\udce9\.wav: a tag file, text in UTF-8, cannot name"):
        catalogue.listed(folder / next(iter(odd)), Path("raw"), Path("tags"))


def test_a_name_that_leaves_no_room_for_a_suffix_keeps_no_other_label_track_from_export(project, tmp_path):
    folder = tmp_path / "field"
    folder.mkdir()
    names = "a.wav", f"{'b' * 251}.wav", "c.wav"
    for name in names:
        sf.write(folder / name, recording([8000]), SR, subtype="PCM_16")
    tags.write(folder / "tags.csv", {name: [Tag(8000)] for name in names})
    said = run("export", "tags", "labels", "--recordings", folder)
    assert (
        "2 tags of 2 recordings" in said
        and f"1 recording is left out: its name leaves no room for .txt: {names[1]}" in said
    )
    assert sorted(p.name for p in Path("labels").iterdir()) == ["a.wav.txt", "c.wav.txt"]


@pytest.mark.slow
def test_a_folder_of_any_name_is_tagged_and_printed_in_any_encoding(project):
    folder = project / os.fsdecode(b"caf\xe9 \xd0\xb0")
    folder.mkdir()
    sf.write(project / "x.wav", recording([8000]), SR, subtype="PCM_16")
    (project / "x.wav").rename(folder / "x.wav")
    command = [sys.executable, "-c", "from gunshot import cli; cli.main()"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii:strict", "PYTHONPATH": str(REPO)}
    done = subprocess.run([*command, "tag", folder], env=environment, capture_output=True, check=True)
    assert b"written to" in done.stdout and b"caf\\udce9 \\u0430/tags.csv" in done.stdout
    done = subprocess.run([*command, "import", "folder", folder], env=environment, capture_output=True)
    assert b"error: name=caf\\udce9 \\u0430 must be text; choose another with --name" in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_label_track_as_windows_saves_it(project, encoding):
    text = "0,500000\t0,750000\tSchuss\r\n\\\t100,0\t4000,0\r\n1,25\t1,25\tgunshot\r\n"
    content = text.encode(encoding)
    Path("c.txt").write_bytes("\ufeff".encode(encoding) + content if encoding == "utf-16-le" else content)
    run("import", "tags", "c.txt", "--label", "Schuss", "--label", "gunshot")
    assert read("data/tags/m.csv") == {"m/gun/deep/c.wav": [Tag(8000), Tag(20000)]}


@pytest.mark.slow
def test_a_recording_is_known_by_its_sound_whatever_its_suffix(project, tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("rec", "a.dat", "b.wav"):
        sf.write(tmp_path / "mine" / name, recording([8000]), SR, subtype="PCM_16", format="WAV")
    (tmp_path / "mine/a.txt").write_text("a shot")
    assert "written to" in run("tag", tmp_path / "mine")
    assert set(read(tmp_path / "mine/tags.csv")) == {"rec", "a.dat", "b.wav"}
