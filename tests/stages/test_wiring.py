"""dvc.yaml names what each stage reaches, no more and no less: DVC does not follow imports."""

import ast
import itertools
import shlex
from functools import cache
from pathlib import Path, PurePosixPath

import grimp
import pytest
import yaml

ROOT = Path(__file__).parents[2]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
TEMPLATES = {
    "gunshot.report.chunks": ["gunshot/report/templates/report.html.j2", "gunshot/report/templates/style.css.j2"],
    "gunshot.report.overview": ["gunshot/report/templates/report.html.j2", "gunshot/report/templates/parts.html.j2"],
    "gunshot.validation.data_docs": ["gunshot/validation/data_docs.html.j2"],
    "gunshot.promotion.bundle": ["gunshot/promotion/draft.md.j2", "gunshot/promotion/card.md.j2"],
    "gunshot.promotion.dossier": ["gunshot/promotion/dossier.html.j2", "gunshot/report/templates/report.html.j2"],
    "gunshot.pages.explore": ["gunshot/pages/explore.html.j2", "gunshot/report/templates/style.css.j2"],
}
CONSOLE = ROOT / "gunshot/hub/console"  # no stage reaches it


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("gunshot", "stages", cache_dir=None)


def command(stage: str) -> list[str]:
    first, *rest = shlex.split(STAGES[stage]["cmd"])
    assert first == "exec", f"{stage}: a shell between DVC and the stage would outlive DVC"
    return rest


def module(stage: str) -> str:
    return command(stage)[1]


@cache
def reached(name: str) -> frozenset[str]:
    """The modules that importing `name` may run: imports anywhere in a file, and the packages around each."""
    modules, ahead = set(), [name]
    while ahead:
        at = ahead.pop()
        if at not in modules:
            modules.add(at)
            ahead += [*graph().find_modules_directly_imported_by(at), *([at.rpartition(".")[0]] if "." in at else [])]
    return frozenset(modules)


def file_of(name: str) -> str:
    path = Path(*name.split("."))
    return (path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")).as_posix()


def bare(path: Path) -> bool:
    """Whether a file marks a package: a docstring, and imports of what must be named itself."""
    body = ast.parse(path.read_text()).body if path.name == "__init__.py" else []
    other = [node for node in body if not isinstance(node, ast.Expr | ast.Import | ast.ImportFrom)]
    return bool(body) and all(ast.unparse(node).startswith("__all__ = ") for node in other)


@cache
def code_of(stage: str) -> frozenset[str]:
    """The files of code that a stage reaches; a bare package decides nothing."""
    modules = reached(f"stages.{module(stage)}")
    files = {file_of(name) for name in modules}
    files |= {template for name in modules & TEMPLATES.keys() for template in TEMPLATES[name]}
    return frozenset(path for path in files if not bare(ROOT / path))


@cache
def lengths(path: str) -> dict[str, int]:
    """The lines of a file, or of each file below a folder."""
    root = ROOT / path
    files = [root] if root.is_file() else [f for f in root.rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    return {file.relative_to(ROOT).as_posix(): len(file.read_text().splitlines()) for file in files}


def names(entries: list) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def deps(stage: str) -> list[str]:
    return names(STAGES[stage]["deps"])


def outs(stage: str) -> list[str]:
    return names([*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", [])])


def is_code(path: str) -> bool:
    return path.split("/")[0] in ("gunshot", "stages")


def holds(folder: str, path: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def loads(path: Path) -> list[list[str]]:
    """The sections that each call of params.load in a file names."""
    tree = ast.parse(path.read_text())
    imported = [
        node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "gunshot.base.params"
    ]
    assert not imported, f"{path}: must import params from gunshot.base, so that its calls are found"
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [[ast.literal_eval(arg) for arg in call.args] for call in calls if ast.unparse(call.func) == "params.load"]


@pytest.mark.parametrize("stage", STAGES)
def test_command_runs_a_stage_that_exists(stage):
    program, name, *arguments = command(stage)
    assert program == "stages/run"
    assert (ROOT / "stages" / f"{name}.py").is_file()
    assert f"stages/{name}.py" in deps(stage)
    assert arguments


def test_every_stage_file_is_in_the_pipeline():
    files = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert files == {module(stage) for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_the_code_that_the_stage_reaches(stage):
    named = {path for path in deps(stage) if is_code(path)}
    missing = [path for path in code_of(stage) if not any(holds(known, path) for known in named)]
    assert sorted(missing) == [], "must be named in dvc.yaml"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_name_no_file_that_is_not_reached_and_no_folder_that_mostly_is_not(stage):
    for path in filter(is_code, deps(stage)):
        lines = lengths(path)
        share = sum(lines[file] for file in lines.keys() & code_of(stage)) / sum(lines.values())
        assert share > 0.5, f"{path}: {stage} reaches {share:.0%} of its lines"


@pytest.mark.parametrize("stage", STAGES)
def test_no_path_is_named_twice(stage):
    for a, b in itertools.permutations(deps(stage), 2):
        assert not holds(a, b), f"{b} is named by {a} already"
    assert len(set(outs(stage))) == len(outs(stage))


@pytest.mark.parametrize("stage", STAGES)
def test_params_name_the_sections_that_the_stage_reads(stage):
    read = set(itertools.chain(*loads(ROOT / "stages" / f"{module(stage)}.py")))
    assert set(STAGES[stage].get("params", [])) == read


@pytest.mark.slow
def test_only_stages_and_the_command_read_params():
    readers = {path.relative_to(ROOT).as_posix() for path in (ROOT / "gunshot").rglob("*.py") if loads(path)}
    assert {path for path in readers if not path.startswith("gunshot/cli/")} == set()
    assert not [stage for stage in STAGES if "gunshot.cli" in reached(f"stages.{module(stage)}")]


@pytest.mark.parametrize("stage", STAGES)
def test_paths_of_the_command_are_declared(stage):
    declared = deps(stage) + outs(stage)
    paths = [arg for arg in command(stage)[2:] if "/" in arg]
    assert paths
    for path in paths:
        assert any(holds(known, path) for known in declared), path


@pytest.mark.parametrize("stage", STAGES)
def test_outputs_lie_where_the_command_says(stage):
    paths = [PurePosixPath(arg) for arg in command(stage)[2:]]
    for out in outs(stage):
        assert any(holds(path, out) or (path.suffix and path.parent == PurePosixPath(out).parent) for path in paths), (
            out
        )


def test_each_output_has_one_stage_and_each_dependency_exists():
    outputs = [out for stage in STAGES for out in outs(stage)]
    for a, b in itertools.permutations(outputs, 2):
        assert not holds(a, b), f"{b} is made twice"
    for stage in STAGES:
        for path in deps(stage):
            there = is_code(path) or path in ("data/raw", "data/tags", "firmware/src", "reports/tagging.json")
            assert (ROOT / path).exists() if there else any(holds(path, m) or holds(m, path) for m in outputs), path


def test_artifacts_are_outputs():
    outputs = [out for stage in STAGES for out in outs(stage)]
    assert {artifact["path"] for artifact in PIPELINE["artifacts"].values()} <= set(outputs)
    assert set(PIPELINE["artifacts"]) == {"forest", "float", "int8"}


def test_package_holds_a_docstring_and_pins_the_processor():
    tree = ast.parse((ROOT / "gunshot" / "__init__.py").read_text())
    assert ast.get_docstring(tree)
    assert [ast.unparse(line) for line in tree.body[1:]] == ["from gunshot.base import processor"]


def test_each_template_of_the_console_is_used():
    files = [*CONSOLE.rglob("*.py"), *CONSOLE.rglob("*.j2")]
    text = {file: file.read_text() for file in files}
    for template in CONSOLE.rglob("*.j2"):
        assert any(f'"{template.name}"' in content for file, content in text.items() if file != template), template


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_template_belongs_to_its_module(name):
    known = {ROOT / template for templates in TEMPLATES.values() for template in templates}
    assert known | set(CONSOLE.rglob("*.j2")) == set((ROOT / "gunshot").rglob("*.j2"))
    page, *included = (ROOT / template for template in TEMPLATES[name])
    assert page.name in (ROOT / file_of(name)).read_text()
    assert all(template.name in page.read_text() for template in included)
