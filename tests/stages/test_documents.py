"""The documents say what is there: figures, links, paths, an example that runs, pictures no older than the code."""

import re
import runpy
import shutil
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from gunshot.base import audio, params, tables
from gunshot.models import forest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "firmware/README.md")]
PAGES += sorted((ROOT / "DOC").rglob("*.md")) + sorted((ROOT / "firmware" / "ports").rglob("*.md"))
FIGURES = runpy.run_path(str(ROOT / "DOC" / "figures.py"))["documents"]
PICTURES = runpy.run_path(str(ROOT / "DOC" / "pictures" / "made.py"))
MAX_README = 9216  # bytes


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture
def tree(tmp_path) -> Path:
    """The documents as they lie here, and the report files as Git has them: a `make` may write others."""
    for name in ("README.md", "DOC/figures.md.j2", "DOC/headline.md.j2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    git = ("git", "-C", ROOT)
    names = subprocess.check_output([*git, "ls-files", "reports/*.json", "models/*/*.json"], text=True).split()
    subprocess.run([*git, "checkout-index", f"--prefix={tmp_path}/", *names], check=True)
    return tmp_path


def test_figures_are_those_of_the_report_files(tree):
    old = [path.name for path, text in FIGURES(tree).items() if (ROOT / path.relative_to(tree)).read_text() != text]
    assert old == [], f"{old} do not say what the report files in Git say: run `make figures`"


def test_another_report_gives_other_figures(tree):
    file = tree / "reports" / "streams.json"
    streams = tables.read_json(file)
    streams["simulated"]["int8"]["recall"] = 0.1111
    tables.write_json(file, streams)
    assert all(text.count("11.1 % of") == 1 for text in FIGURES(tree).values())


def test_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= MAX_README


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    lost = []
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_of_code_exist(page):
    named = set(re.findall(r"`((?:gunshot|stages|flows|tests|firmware/src)/[\w./-]+)`", page.read_text()))
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_the_tree_in_readme_has_every_room():
    (tree,) = re.findall(r"^```\n(params.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    named = re.findall(r"^  (\S+)", tree, flags=re.MULTILINE)
    files = [path for path in (ROOT / "gunshot").iterdir() if not path.name.startswith("_")]
    assert sorted(named) == sorted(path.name + "/" * path.is_dir() for path in files)


def test_floors_in_contributing_are_the_import_contract():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    rows = re.findall(r"^\| (\d?) ?\| `(\w+)(?:/|\.py)` \|", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    floors = []
    for number, room in rows:
        if number:
            assert int(number) == len(floors) + 1
            floors.append(set())
        floors[-1].add(room)
    assert floors == [set(layer.split(" | ")) for layer in reversed(contract["layers"])]


def test_the_example_in_python_runs(tmp_path, monkeypatch, capsys):
    """With a forest in the int8 network's place, that costs no TensorFlow; any model is loaded the same way."""
    (code,) = re.findall(r"^```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    p = params.load("audio", "features", path=ROOT / "params.yaml")
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (64, p.features.n_mels * 33))
    trees = RandomForestClassifier(2, max_depth=2, random_state=0).fit(x, np.arange(64) % 2)
    trees.window_ = p.features.n_mels, 33
    forest.save(trees, tmp_path / "m.joblib")
    report = {"chunk_threshold": 0.5, "calibration": {"slope": 1.0, "intercept": 0.0}}
    tables.write_json(tmp_path / "report.json", report)
    tables.write_json(tmp_path / "operating.json", {"logit": -9.0})
    (wav,) = re.findall(r'audio.read\("(.*?)"', code)
    (tmp_path / wav).parent.mkdir(parents=True)
    y = 60 * rng.standard_normal(p.audio.sr)
    y[8000:8800] += 20_000 * rng.standard_normal(800) * np.exp(-np.arange(800) / 200)
    audio.write_pcm(tmp_path / wav, np.clip(y, -32768, 32767).astype(np.int16), sr=p.audio.sr)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "dvc.yaml").write_text("artifacts: {int8: {path: m.joblib}}\n")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    onsets = re.findall(r"\d+\.\d+", capsys.readouterr().out)
    assert any(abs(float(onset) - 0.5) < 0.02 for onset in onsets), onsets


def test_pictures_show_the_code_of_now():
    old = PICTURES["old"](ROOT)
    assert old == {}, "DOC/pictures: older than what they show: " + "; ".join(f"{n}: run `{c}`" for n, c in old.items())


def test_every_picture_is_known():
    folder = ROOT / "DOC" / "pictures"
    assert {path.name for path in folder.iterdir() if path.suffix in (".png", ".svg")} == set(PICTURES["SHOWS"])
