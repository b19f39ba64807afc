"""The house rules that tools and eyes check: style, floors, sizes, names, the lock file, the drawn DAG."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("gunshot", "stages", "flows", "tests", "firmware", "DOC")
SUFFIXES = (".py", ".j2", ".c", ".h", ".cc", ".cpp", ".sh")
MAX_LINES, MAX_COLUMNS = 400, 120
HELD = {("firmware", folder) for folder in ("src", "ports", "packages")}
# As DOC/glossary.md says: these words do not say what they stand for.
VAGUE = {"data2", "found", "helpers", "holding", "made", "of", "process", "tally", "told", "utils"}


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("command", ["ruff check .", "ruff format --check .", "lint-imports"])
def test_style_and_floors(command):
    done = run(*command.split())
    assert done.returncode == 0, done.stdout + done.stderr


def sources(*suffixes: str) -> list[Path]:
    """The project's own files of these kinds, neither generated nor fetched."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    return [path for path in files if not {"build", "generated", "third_party"} & set(path.parts)]


def test_no_file_is_too_long():
    files = sources(*SUFFIXES)
    assert len(files) > 50
    long = {
        path.relative_to(ROOT).as_posix(): n for path in files if (n := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert long == {}


def test_no_line_of_firmware_is_too_long():
    """Python's are held by ruff."""
    files = [path for path in sources(".c", ".h", ".cc") if path.relative_to(ROOT).parts[:2] in HELD]
    assert {path.relative_to(ROOT).parts[:2] for path in files} == HELD
    long = [
        f"{path.relative_to(ROOT).as_posix()}:{i}"
        for path in files
        for i, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > MAX_COLUMNS
    ]
    assert long == []


def test_a_stage_is_read_at_a_glance():
    lines = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "stages").glob("*.py")}
    assert lines and {name: count for name, count in lines.items() if count > 40} == {}


def named(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The names that a file gives, each with its line: variables, attributes, functions, classes, parameters."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name, node.lineno
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.alias(asname=str(name)) | ast.ExceptHandler(name=str(name)):
                yield name, node.lineno


@pytest.mark.slow
def test_names_say_what_they_stand_for():
    vague = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {name}"
        for path in sources(".py")
        for name, line in named(ast.parse(path.read_text()))
        if name in VAGUE
    ]
    assert vague == []


def test_lock_has_hashes_and_no_address():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://", text)
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^ *#.*\n?", "", text, flags=re.MULTILINE).strip())
    assert len(entries) > 100
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert [entry.split()[0] for entry in entries if not re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==", entry)] == []


def test_dvc_sends_nothing():
    config = configparser.ConfigParser()
    config.read_string(re.sub(r"^\s+", "", (ROOT / ".dvc" / "config").read_text(), flags=re.MULTILINE))
    assert not config.getboolean("core", "analytics")
    assert not config.getboolean("core", "check_update")


def test_drawn_dag_is_that_of_dvc_yaml(tmp_path):
    """`dvc dag` in a copy: it writes to .dvc/tmp."""
    for name in ("dvc.yaml", "params.yaml", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    done = run("dvc", "dag", "--md", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    header = "# The pipeline\n\nMade by `make dag` from dvc.yaml.\n\n"
    assert (ROOT / "DOC" / "dag.md").read_text() == header + done.stdout, "run `make dag`"
