"""Experiments that `dvc exp show` lists, of params that were tried without DVC; the working tree stays as it is."""

import json
import tempfile
from io import StringIO
from pathlib import Path

import yaml
from ruamel.yaml import YAML

from gunshot.promotion.repository import Repository

DVC_YAML, PARAMS = Path("dvc.yaml"), Path("params.yaml")
# A file of DVC's own says where the metrics are: dvc.yaml would miss them in all that is no such experiment.
METRICS, DECLARED = Path("reports/search.json"), Path("reports/dvc.yaml")


def ready(repository: Repository, values: dict[str, bool | int | float | str]) -> None:
    """Raise ValueError, as `save` would, where an experiment of such values could not be saved."""
    repository.commit("HEAD")
    repository.git("var", "GIT_COMMITTER_IDENT")
    _with(repository.root / PARAMS, values)


def save(repository: Repository, name: str, values: dict[str, bool | int | float | str], figures: dict) -> None:
    """Save as an experiment on HEAD what is tracked as it lies there, with other values of params.yaml, and `figures`.

    One of this name is replaced. What DVC's stages measured of another network is left out: of each metrics file behind
    `train_network` nothing is there. dvc.lock stays as it is, so that `dvc repro` makes what the values give.

    Parameters
    ----------
    values : by ``section.name``

    Raises
    ------
    ValueError
        Git has no commit yet, knows no name of the user, or refuses.
    """
    head = repository.commit("HEAD")
    prefix = repository.git("rev-parse", "--show-prefix").decode().strip()
    contents = {
        PARAMS: _with(repository.root / PARAMS, values),
        METRICS: json.dumps({"search": figures}, indent=2) + "\n",
        DECLARED: yaml.safe_dump({"metrics": [METRICS.name]}),
        **dict.fromkeys(_stale(yaml.load((repository.root / DVC_YAML).read_text(), yaml.CSafeLoader)), "{}\n"),
    }
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        repository.git("read-tree", head, **index)
        repository.git("add", "--update", ".", **index)
        for path, text in contents.items():
            blob = repository.git("hash-object", "-w", "--stdin", text=text).decode().strip()
            entry = f"100644,{blob},{prefix}{path.as_posix()}"
            repository.git("update-index", "--add", "--cacheinfo", entry, **index)
        tree = repository.git("write-tree", **index).decode().strip()
    commit = repository.git("commit-tree", tree, "-p", head, "-m", f"gunshot search: {name}").decode().strip()
    repository.git("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", commit)  # as DVC names them


def _with(path: Path, values: dict[str, bool | int | float | str]) -> str:
    """Return the text of params.yaml with other values; all else stays, comments too."""
    text, out = YAML(), StringIO()
    text.preserve_quotes, text.width = True, 4096
    document = text.load(path)
    for key, value in values.items():
        section, _, name = key.partition(".")
        document[section][name] = text.load(yaml.safe_dump(value))  # as PyYAML writes it, for which 1e-05 is no number
    text.dump(document, out)
    return out.getvalue()


def _stale(pipeline: dict) -> list[Path]:
    """Return the metrics files of `train_network`, and of all stages that use what it makes."""
    stages, behind = pipeline["stages"], ["train_network"]
    for stage in behind:  # it grows meanwhile
        outs = _paths(stages[stage], "outs", "metrics")
        behind += [
            name for name, other in stages.items()
            if name not in behind and any(dep.is_relative_to(out) or out.is_relative_to(dep)
                                          for dep in _paths(other, "deps") for out in outs)
        ]  # fmt: skip
    return [path for name in behind for path in _paths(stages[name], "metrics")]


def _paths(stage: dict, *keys: str) -> list[Path]:
    entries = [entry for key in keys for entry in stage.get(key, [])]
    return [Path(entry if isinstance(entry, str) else next(iter(entry))) for entry in entries]
