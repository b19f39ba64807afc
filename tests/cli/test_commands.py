"""The command: help, and errors in one line without a traceback. Nothing here needs a trained model."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import soundfile as sf
from sklearn.ensemble import RandomForestClassifier
from typer.testing import CliRunner

from gunshot import cli
from gunshot.base import audio, params, tables
from gunshot.models.forest import codes

REPO = Path(__file__).parents[2]
COMMANDS = [
    "annotate", "calibrate", "cascade", "compare", "cross-validate", "demo", "detect", "device", "doctor", "dossier",
    "drift", "evaluate", "explore", "export", "firmware", "hub", "import", "incidents", "leave-one-out", "listen",
    "locate", "models", "promote", "purge", "review", "rollback", "search", "sim-and-real", "sim-to-real", "simulate",
    "tag", "tag-report", "train-verifier",
]  # fmt: skip
HEARING = "--file", "--microphone", "--model", "--threshold", "--site", "--verify"  # of a device
P = params.load("audio", "features", path=REPO / "params.yaml")


def run(*args: str):
    return CliRunner().invoke(cli.app, list(args), env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with params.yaml and dvc.yaml, and nothing made yet."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((REPO / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def main(monkeypatch, capsys, *args: str) -> str:
    """Return the message with which `gunshot args` ends."""
    monkeypatch.setattr(sys, "argv", ["gunshot", *args])
    with pytest.raises(SystemExit) as e:
        cli.main()
    assert isinstance(e.value.code, str), capsys.readouterr()
    assert e.value.__context__ is not None and "\n" not in e.value.code
    return e.value.code


def test_help_names_every_command():
    shown = run("--help")
    assert shown.exit_code == 0 and "dvc repro" in shown.output
    assert all(command in shown.output for command in COMMANDS)
    assert run("-h").output == shown.output
    registered = [c.name or c.callback.__name__.replace("_", "-") for c in cli.app.registered_commands]
    registered += [group.name for group in cli.app.registered_groups]
    assert sorted(registered) == sorted(COMMANDS)


WORDS = {
    "import": ["folder", "urbansound8k", "tags"],
    "import esc50": ["--download", "--classes", "archive"],
    "import fsd50k": ["Gunshot_and_gunfire", "--classes", "24.7 GB"],
    "import public": ["--download", "--licence", "commercial", "promotion.licences", "32 GB", "credits/", "token"],
    "firmware": ["run", "parity", "wake"],
    "firmware run": ["--port", "mps2-an386", "gunshot detect"],
    "firmware parity": ["firmware.json", "80 MHz"],
    "firmware wake": ["--db", "wake.json", "never have been trained on", "cut close"],
    "hub init": ["--host", "--port", "--database", "stays as it is"],
    "hub enrol": ["--number", "--site", "--latitude", "--longitude", "Move that folder", "--renew"],
    "hub revoke": ["certificates", "stays in the database", "must run"],
    "hub cap": ["--kind", "Exercise", "nothing is sent"],
    "hub cases": ["--format", "geojson", "newest last", "near by device"],
    "hub collect": ["data/field", "gunshot import field", "drills", "changed"],
    "hub site": ["--devices-needed", "--no-exercise", "from now on"],
    "hub run": ["once it is stored", "one hub"],
    "hub demo": ["login", "Mosquitto", "Ctrl-C"],
    "hub watch": ["HUB/watch", "each once", "systemd timer"],
    "hub incidents": ["--format", "csv", "newest last", "missing"],
    "device bridge": ["--baud", "/dev/serial/by-id", "acknowledged", "whatever number"],
    "hub order": ["--incident", "--from", "--live", "--seconds", "--reason", "--person", "30 s", "60 s", "FLAC"],
    "hub orders": ["--format", "newest last"],
    "hub purge": ["field.keep_days", "message_days", "no confirmed case", "stay listed"],
    "hub console": ["--host", "--port", "authority/cert.pem", "beside"],
    "hub person": ["--role", "--disable", "prints the password", "once"],
    "device run": [*HEARING, "acknowledged", "No audio", "30 s"],
    "explore": ["leakage gap", "--out"],
    "purge": ["--dry-run", "field.keep_days"],
    "annotate": ["--blind", "data/tags/CORPUS.csv", "--out"],
    "import folder": ["--name", "rejected.csv", "manifest.csv"],
    "export": ["chunks", "tags", "demo", "runtime"],
    "export chunks": ["OUT/SIDE/CLASS/LABEL"],
    "detect": ["--model", "--threshold", "--site", "--scores", "--plot", "--verify", "json", "int8, float or forest"],
    "listen": ["--model", "--threshold", "--device", "--file", "stored or"],
    "simulate": ["--scene", "--weapon", "--distance", "--angle", "--seed", "same bytes"],
    "cross-validate": ["--folds", "--out", "never heard its group", "each recording once"],
    "cascade": ["--out", "operating point", "90 %", "ever have been trained on"],
    "train-verifier": ["whenever", "dvc repro", "validation streams"],
    "incidents": ["--out", "never have been trained on", "20 s", "cut close"],
    "leave-one-out": ["--out", "--seeds", "data set"],
    "search": ["--best", "never on test streams", "as it is", "goes on after a kill"],
    "sim-and-real": ["--seeds", "--folds", "held out"],
    "sim-to-real": ["--half", "sealed", "simulate.preset=full"],
    "compare": ["--streams", "--out", "operating.json"],
    "dossier": ["--champion", "--root", "gates.json", "seeds.json"],
    "review": ["--by", "--reason", "--overrule", "--acknowledge", "weapon=M16"],
    "evaluate": ["--out", "--model", "metrics.json", "never have been trained on"],
}


@pytest.mark.parametrize("command", WORDS)
def test_each_command_explains_itself_and_its_options(command):
    shown = run(*command.split(), "--help")
    assert shown.exit_code == 0
    assert all(word in shown.output for word in WORDS[command]), shown.output


def test_an_unknown_command_or_layout_is_named():
    for args, word in ((["detct"], "detct"), (["import", "zip", "."], "no such command 'zip'"), (["detect"], "files")):
        shown = run(*args)
        assert shown.exit_code == 2 and word.lower() in shown.output.lower() and "Traceback" not in shown.output


def test_outside_the_project_s_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    message = main(monkeypatch, capsys, "detect", "x.wav")
    assert message == "error: params.yaml: no such file; run this from the project's folder"


def test_a_missing_model_is_named(project, monkeypatch, capsys):
    assert "models/quantized/model.tflite: no such model" in main(monkeypatch, capsys, "detect", "x.wav")
    for name in ("mine.keras", "nosuch", "dvc.yaml"):
        message = main(monkeypatch, capsys, "detect", "x.wav", "--model", name)
        assert message.startswith(f"error: model='{name}' must be ") and "int8" in message


def test_a_plot_of_several_files_is_refused(project, monkeypatch, capsys):
    message = main(monkeypatch, capsys, "detect", "a.wav", "b.wav", "--plot", "p.png")
    assert message.startswith("error: --plot draws one recording as .png, files=2")
    assert "suffix='.svg'" in main(monkeypatch, capsys, "detect", "a.wav", "--plot", "p.svg")


def test_a_threshold_out_of_range_is_refused(forest, monkeypatch, capsys):
    for value in ("2", "0", "1", "-0.5", "nan"):
        message = main(monkeypatch, capsys, "detect", "a.wav", "--model", forest, "--threshold", value)
        assert message == f"error: threshold={value} must be above 0 and below 1"


def test_a_refused_corpus_is_not_trained_on(project, monkeypatch, capsys):
    for folder, name in (("gun", "a"), ("env", "b")):
        (project / "in" / folder).mkdir(parents=True)
        (project / "in" / folder / f"{name}.wav").write_text("no audio")
    monkeypatch.setattr(sys, "argv", ["gunshot", "import", "folder", "in", "--name", "mine"])
    with pytest.raises(SystemExit, match="2 of 2 rejected"):
        cli.main()
    assert [path.name for path in (project / "data/raw").iterdir()] == ["mine.rejected.csv"]


def test_evaluate_wants_both_classes_before_it_scores(project, monkeypatch, capsys):
    (project / "in/env").mkdir(parents=True)
    (project / "in/env/b.wav").write_text("no audio")
    assert "no file of the class gun" in main(monkeypatch, capsys, "evaluate", "in")


def test_an_archive_is_imported_under_its_own_name(project, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    (project / "in/gun").mkdir(parents=True)
    for name in "ab":
        sf.write(project / f"in/gun/{name}.wav", 0.1 * rng.standard_normal(8000), 16000)
    shutil.make_archive(str(project / "My Shots"), "zip", project / "in")
    monkeypatch.setattr(sys, "argv", ["gunshot", "import", "folder", "My Shots.zip"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code and "2 imported" in capsys.readouterr().out
    table = tables.read(project / "data/raw/My Shots/recordings.csv", tables.RECORDING)
    assert list(table["recording_group"]) == ["My Shots/gun/a", "My Shots/gun/b"]
    (project / "notes.txt").write_text("none")
    assert "must be a folder or an archive" in main(monkeypatch, capsys, "import", "folder", "notes.txt")


def test_the_simulated_corpus_is_not_overwritten(project, monkeypatch, capsys):
    (project / "in/gun").mkdir(parents=True)
    message = main(monkeypatch, capsys, "import", "folder", "in", "--name", "simulated")
    assert "name='simulated' is that of the simulated corpus; choose another with --name" in message


def test_a_bad_params_file_is_named(project, monkeypatch, capsys):
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(text.replace("n_mels: 32", "n_mels: many"))
    assert "params.yaml: features.n_mels='many'" in main(monkeypatch, capsys, "detect", "x.wav")


def test_an_evaluation_of_no_layout_is_named(project, monkeypatch, capsys):
    (project / "in").mkdir()
    assert "in: must be a folder that holds gun/ or env/" in main(monkeypatch, capsys, "evaluate", "in")


def test_the_installed_command_tells_errors_on_stderr_without_a_traceback(tmp_path):
    command = Path(sys.executable).with_name("gunshot")
    done = subprocess.run([command, "detect", "x.wav"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == "error: params.yaml: no such file; run this from the project's folder\n"


def test_import_brings_recordings_in(project):
    (project / "in/gun/rifle").mkdir(parents=True)
    sf.write(project / "in/gun/rifle/a.wav", 0.3 * np.random.default_rng(0).standard_normal(20000), 44100)
    done = run("import", "folder", "in", "--name", "mine")
    assert done.exit_code == 0, done.output
    (row,) = tables.read(project / "data/raw/mine/recordings.csv", tables.RECORDING).to_dict("records")
    assert (row["class"], row["label"], row["sr_found"]) == ("gun", "rifle", 44100)
    assert audio.header(project / "data/raw" / row["path"])[0] == 16000


REPORT = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}


@pytest.fixture
def forest(project):
    """A forest that takes a bang for a shot where training has it in a window, and neither earlier nor later."""
    rng = np.random.default_rng(0)
    onset = rng.integers(-30, 60, 600)
    after = np.arange(33) - onset[:, None]
    level = np.where(after >= 0, -20 - 1.5 * after, -85)[:, None].clip(-85) + rng.normal(0, 4, (600, 32, 33))
    model = RandomForestClassifier(20, random_state=0).fit(codes(level.astype(np.float32)), (onset > 2) & (onset < 25))
    model.window_ = 32, 33
    joblib.dump(model, project / "forest.joblib")
    (project / "report.json").write_text(json.dumps(REPORT))
    (project / "operating.json").write_text('{"logit": 0.0}')
    y = 1e-4 * rng.standard_normal(32000)
    y[16000:17600] += 0.5 * rng.standard_normal(1600) * np.exp(-np.arange(1600) / 400)
    sf.write(project / "shot.wav", y, 16000)
    sf.write(project / "quiet.wav", 1e-4 * rng.standard_normal(48000), 48000)
    return "forest.joblib"


def test_detect_prints_onsets_as_text_and_json(forest):
    done = run("detect", "shot.wav", "quiet.wav", "--model", forest)
    assert done.exit_code == 0, done.output
    shot, quiet = done.output.splitlines()
    assert shot.split()[0] == "shot.wav" and abs(float(shot.split()[1]) - 1.0) < 0.010
    assert re.fullmatch(r"quiet\.wav  no shot \(highest 0\.\d{3} at \d\.\d s, threshold 0\.500\)", quiet)
    done = run("detect", "shot.wav", "quiet.wav", "--model", forest, "--format", "json")
    (row,) = (json.loads(line) for line in done.output.splitlines())
    assert row["file"] == "shot.wav" and abs(row["onset_s"] - 1.0) < 0.010 and 0.5 <= row["score"] <= 1
    peak = np.abs(sf.read("shot.wav")[0]).max()  # 20 Pa at full scale are 120 dB
    assert row["level_db"] == pytest.approx(120 + 20 * np.log10(peak), abs=0.06)


def shifted(project, intercept: float, logit: float) -> None:
    """Another calibration, and another operating point."""
    calibration = {"slope": 1.0, "intercept": intercept}
    (project / "report.json").write_text(json.dumps(REPORT | {"calibration": calibration}))
    (project / "operating.json").write_text(json.dumps({"logit": logit}))


def detected(*args: str) -> list[dict]:
    done = run("detect", "shot.wav", *args, "--format", "json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_detect_shows_calibrated_scores_and_decides_by_operating_json(forest, project):
    (plain,) = detected("--model", forest)
    logit = np.log(plain["score"] / (1 - plain["score"]))
    shifted(project, -3.0, 0.0)
    (row,) = detected("--model", forest)  # the same decision, shown by another scale
    assert row["onset_s"] == plain["onset_s"] and row["score"] == pytest.approx(1 / (1 + np.exp(3 - logit)))
    shifted(project, -3.0, logit + 0.5)
    assert detected("--model", forest) == []


def test_a_threshold_is_of_the_calibrated_score_and_needs_no_operating_point(forest, project):
    shifted(project, -3.0, 0.0)
    (row,) = detected("--model", forest)
    assert detected("--model", forest, "--threshold", f"{row['score'] - 0.01:.4f}") == [row]
    assert detected("--model", forest, "--threshold", f"{row['score'] + 0.01:.4f}") == []
    (project / "operating.json").unlink()
    assert detected("--model", forest, "--threshold", f"{row['score'] - 0.01:.4f}") == [row]


def test_a_missing_operating_point_is_named(forest, project, monkeypatch, capsys):
    (project / "operating.json").unlink()
    message = main(monkeypatch, capsys, "detect", "shot.wav", "--model", forest)
    assert message == ("error: operating.json: no such file; make it with `dvc repro operate`, or give a threshold")


def test_samples_that_are_no_numbers_are_a_warning_and_a_result(forest, project):
    y, _ = sf.read(project / "shot.wav")
    y[:400:4] = np.nan
    y[30_000] = np.inf
    sf.write(project / "broken.wav", y, 16000, subtype="FLOAT")
    done = run("detect", "broken.wav", "--model", forest)
    assert done.exit_code == 0 and abs(float(done.stdout.split()[1]) - 1.0) < 0.010
    assert done.stderr == "warning: broken.wav: 101 samples are no numbers; they count as silence\n"


def test_a_recording_of_40_ms_is_heard_between_its_own_frames(forest, project):
    y, _ = sf.read(project / "shot.wav")
    sf.write(project / "short.wav", y[15_550 : 15_550 + 640], 16000)
    done = run("detect", "short.wav", "--model", forest, "--threshold", "0.0001")
    assert done.exit_code == 0 and abs(float(done.stdout.split()[1]) - 450 / 16000) < 0.010
    rows = run("detect", "short.wav", "--model", forest, "--scores", "--format", "json").stdout.splitlines()
    assert len(rows) == 1 + (24 + 2 + 30 - 33) // 8  # the lead, two frames, and what goes on until they were sought in


def test_listen_plays_a_recording_in_a_microphone_s_place(forest, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda s: None)
    done = run("listen", "--file", "shot.wav", "--model", forest)
    (line,) = done.stdout.splitlines()
    assert done.exit_code == 0 and abs(float(line.split()[1]) - 1.0) < 0.010 and line.split()[3:4] == ["score"]


def test_detect_draws_a_plot(forest, project):
    done = run("detect", "shot.wav", "--model", forest, "--plot", "p.png")
    assert done.exit_code == 0 and (project / "p.png").read_bytes()[:4] == b"\x89PNG"


def test_detect_prints_every_window_s_score(forest):
    done = run("detect", "shot.wav", "--model", forest, "--scores", "--format", "json")
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert len(rows) == 1 + (24 + (1 + (32000 - 512) // 112) + 30 - 33) // 8
    assert rows[0]["start_s"] == pytest.approx(-24 * 112 / 16000) and rows[3]["start_s"] == 0
    assert set(rows[0]) == {"file", "start_s", "score"}


def test_detect_goes_on_after_a_bad_file_and_says_so(forest, project):
    (project / "bad.wav").write_text("no audio")
    done = run("detect", "bad.wav", "none.wav", "shot.wav", "--model", forest, "--threshold", "0.5")
    assert done.exit_code == 1 and done.stdout.startswith("shot.wav  ")
    errors = done.stderr.splitlines()
    assert [line.split(": ")[1] for line in errors] == ["bad.wav", "none.wav"]
    assert "libsndfile must read it" in errors[0] and "no such file" in errors[1]
    assert all(line.startswith("error: ") for line in errors)


def test_simulate_renders_one_recording_and_says_what_it_holds(project):
    asked = ("simulate", "--scene", "street", "--weapon", "M16", "--distance", "200", "--angle", "10", "--out", "x.wav")
    shown = run(*asked)
    assert shown.exit_code == 0 and "M16" in shown.output and "200 m, 10 degrees" in shown.output
    shots = tables.read(project / "x.csv", tables.CORPUS_SHOT)
    assert len(audio.read_pcm(project / "x.wav", sr=16000)) == 48000
    assert (shots["scene"] == "street").all() and (shots["weapon"] == "M16").all()
    assert (shots["shock"] == shots["onset"]).all() and (shots["blast"] - shots["shock"] > 1000).all()
    first = [(project / name).read_bytes() for name in ("x.wav", "x.csv")]
    assert run(*asked).exit_code == 0 and [(project / name).read_bytes() for name in ("x.wav", "x.csv")] == first


def test_simulate_names_what_it_cannot_render(project, monkeypatch, capsys):
    for args, words in (
        (("--weapon", "Musket"), ("weapon='Musket'", "AK-47")),
        (("--scene", "moon"), ("scene='moon'", "street")),
        (("--scene", "office", "--distance", "200"), ("distance=200 m", "at most", "office")),
        (("--out", "x.mp3"), ("x.mp3", "must end in .wav")),
    ):
        message = main(monkeypatch, capsys, "simulate", "--out", "x.wav", *args)
        assert all(word in message for word in words), message
    assert not list(project.glob("x.*"))


def test_simulate_says_where_blasts_come_after_the_end(project):
    far = ("simulate", "--weapon", "M16", "--scene", "field", "--distance", "1000", "--angle", "2", "--out", "x.wav")
    for duration in ("1", "6"):
        shown = run(*far, "--duration", duration)
        late = tables.read(project / "x.csv", tables.CORPUS_SHOT)["blast"] >= int(duration) * 16000
        assert shown.exit_code == 0 and late.any() == (duration == "1")
        assert (f"{late.sum()} of the blasts arrive after its end" in shown.output) == late.any()


@pytest.mark.parametrize(
    ("option", "rule", "values"),
    [("distance", "from 2 to 1500", "0 2000 -5 nan"), ("angle", "from 0 to 180", "190 nan"),
     ("duration", "from 1 to 600", "0.5 600.0001"), ("seed", "at least 0", "-1")],
)  # fmt: skip
def test_simulate_names_the_option_that_is_out_of_its_range(project, monkeypatch, capsys, option, rule, values):
    for value in values.split():
        message = main(monkeypatch, capsys, "simulate", "--out", "x.wav", f"--{option}", value)
        assert message == f"error: {option}={value} must be {rule}" and not list(project.glob("x.*"))


def test_sim_to_real_refuses_a_model_that_saw_real_recordings(project, monkeypatch, capsys):
    row = {**dict.fromkeys(tables.CHUNK, "x"), "index": 0, "start": 0, "onset": -1, "source": "mine"}
    tables.write(project / "data/features/train.csv", tables.frame([row], tables.CHUNK))
    message = main(monkeypatch, capsys, "sim-to-real", str(project))
    assert "train.csv" in message and "'mine'" in message and "simulated alone" in message


def test_sim_and_real_needs_both(project, monkeypatch, capsys):
    known = {"class": "env", "index": 0, "start": 0, "onset": -1, "source": "simulated"}
    row = dict.fromkeys(tables.CHUNK, "x") | known
    for side in tables.SIDES:
        tables.write(project / f"data/features/{side}.csv", tables.frame([row], tables.CHUNK))
        np.save(project / f"data/features/{side}.npy", np.zeros((1, 32, 33), np.float32))
    message = main(monkeypatch, capsys, "sim-and-real")
    assert "must hold simulated and real chunks; import recordings, then run `dvc repro`" in message
