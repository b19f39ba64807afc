"""What a search tries: the values that keys of params.yaml may take, and how many rows of them."""

import re
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Protocol

import pydantic
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Tag, ValidationError

from gunshot.base import params

SEARCHED = ("network", "quantize")  # sections that change neither features nor streams
Value = bool | int | float | str


class Sections(Protocol):
    """The sections of params.yaml that may be searched."""

    network: params.Network
    quantize: params.Quantize


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Interval(_Checked):
    """Numbers from low to high, both among them; with `log` each factor is as likely as any other."""

    low: int | float
    high: int | float
    log: bool = False


def _plain(value: object) -> object:
    if not isinstance(value, Value):
        raise ValueError("a list of lists cannot be searched: a value must be a number, true, false or text")
    return value


Values = Annotated[list[Annotated[Any, AfterValidator(_plain)]], Tag("values")] | Annotated[Interval, Tag("interval")]
OneOf = Annotated[Values, Discriminator(lambda part: "interval" if isinstance(part, dict | Interval) else "values")]


class Search(_Checked):
    """A search: `rows` of values from `space`, of so many networks each; `together` are proposed at a time."""

    rows: params.Count
    seeds: params.Count
    together: params.Count
    seed: params.Seed
    space: Annotated[dict[str, OneOf], pydantic.Field(min_length=1)]


def load(path: Path, p: Sections) -> Search:
    """Return the search of a YAML file, each of whose values the sections of params.yaml allow.

    Raises
    ------
    ValueError
        The file is no such search, or a key or a value is not one that can be searched: all of them are named.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", path.stem):
        raise ValueError(f"{path}: its name must have letters, digits, - and _ alone: experiments are named by it")
    try:
        search = Search.model_validate(yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise ValueError(f"{path}: not YAML: {e}") from None
    except ValidationError as e:
        raise ValueError("\n".join(f"{path}: {_where(error)}: {error['msg']}" for error in e.errors())) from None
    problems = [f"{path}: {rule}" for key, values in search.space.items() for rule in _problems(key, values, p)]
    sizes = [len(values) for values in search.space.values() if not isinstance(values, Interval)]
    if not problems and len(sizes) == len(search.space) and search.rows > prod(sizes):
        problems = [f"{path}: rows={search.rows} must be at most {prod(sizes)}: the space has no more sets of values"]
    if problems:
        raise ValueError("\n".join(problems))
    return search


def _where(error: dict) -> str:
    key = ".".join(str(part) for part in error["loc"] if part not in ("space", "values", "interval"))
    return f"{key}={error['input']!r}" if isinstance(error["input"], Value) else key or "the file"


def _problems(key: str, values: list[Value] | Interval, p: Sections) -> list[str]:
    section, _, name = key.partition(".")
    if section not in SEARCHED or name == "seed":
        return [f"{key} cannot be searched; what can are keys of {' and '.join(SEARCHED)}, but not their seeds. "
                "What else there is takes features or streams of its own: `dvc exp run --queue`"]  # fmt: skip
    if name not in (fields := type(getattr(p, section)).model_fields):
        return [f"{key} is not a known key; {section} has: {', '.join(fields)}"]
    if values == [] or (isinstance(values, Interval) and values.low >= values.high):
        return [f"{key} must be a list of values, or low and high with low below high"]
    if isinstance(values, Interval) and values.log and values.low <= 0:
        return [f"{key}: low={values.low} must be above 0 with log"]
    return [rule for value in ends(values) if (rule := _refused(key, value, p))]


def ends(values: list[Value] | Interval) -> list[Value]:
    """Return the values of a list, or the ends of an interval: where they are allowed, all between them are."""
    return [values.low, values.high] if isinstance(values, Interval) else values


def _refused(key: str, value: Value, p: Sections) -> str | None:
    try:
        changed(p, {key: value})
    except ValidationError as e:
        return f"{key}={value!r}: {e.errors()[0]['msg']}"
    return None


def changed(p: Sections, values: dict[str, Value]) -> SimpleNamespace:
    """Return the sections of params.yaml with other values, by ``section.name``; ValidationError where one is none."""
    document = {name: section.model_dump() for name, section in vars(p).items()}
    for key, value in values.items():
        section, _, name = key.partition(".")
        document[section][name] = value
    return SimpleNamespace(**{name: type(section)(**document[name]) for name, section in vars(p).items()})


def present(p: Sections, space: dict[str, list[Value] | Interval]) -> dict[str, Value] | None:
    """Return what params.yaml has for the keys of a space, or None where one of them lies outside it."""
    values = {key: getattr(getattr(p, key.partition(".")[0]), key.partition(".")[2]) for key in space}
    inside = (
        part.low <= values[key] <= part.high if isinstance(part, Interval) else values[key] in part
        for key, part in space.items()
    )
    return values if all(inside) else None
