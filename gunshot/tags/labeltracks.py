"""Tags in other tools' formats, Audacity label tracks and Label Studio JSON, and which recording a file there means."""

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath
from urllib.parse import parse_qs, quote, unquote, urlsplit

from gunshot.tags import Tag, state, unique

LABEL = "shot"
SHOWN_S = 0.05  # Label Studio knows regions alone: a shot's is so long, or ends at the next shot
SHOTS = (
    "shot", "shots", "gun", "gunshot", "gunshots", "gun shot", "gun shots", "gunfire", "gun fire",
    "gunshot gunfire", "gunshot and gunfire", "",  # the last: a label without text
)  # fmt: skip
_REGION = {"start", "end", "channel", "labels"}  # what Label Studio says of a region that is no choice or text about it
_CONFIDENCE = re.compile(r"@(0(?:\.[0-9]+)?|1(?:\.0+)?)$")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before an uploaded file's name


def means_shot(label: str, labels: Collection[str] = SHOTS) -> bool:
    """Return whether a label is one of `labels`, word for word; a number or a calibre may follow: "Gunshot 9mm".

    Case, and what stands between words, a space, comma, hyphen or underscore, make no difference.
    """
    words, known = _words(label), [_words(each) for each in labels]
    while len(words) > 1 and words not in known and words[-1][0].isdigit():
        words.pop()
    return words in known


def _words(label: str) -> list[str]:
    """Return a label's words, a number at a word's end as one of its own: "Shot_3" and "shot3" are shot, 3."""
    plain = unicodedata.normalize("NFKC", label).casefold()
    return [part for word in re.split(r"[\s,_-]+", plain) for part in re.findall(r"\d.*|\D+", word)]


def audacity(tags: list[Tag], *, sr: int) -> str:
    """Return tags as an Audacity label track: ``start<TAB>end<TAB>label`` in s, a point label each.

    The label is ``shot``, or ``shot@CONFIDENCE`` of an automatic tag.
    """
    lines = []
    for tag in tags:
        at, mark = f"{tag.start / sr:.6f}", "" if tag.confidence is None else f"@{tag.confidence:.2f}"
        lines.append(f"{at}\t{at}\t{LABEL}{mark}\n")
    return "".join(lines)


def from_audacity(
    text: str, *, sr: int, name: str = "label track", labels: Collection[str] = SHOTS
) -> tuple[list[Tag] | None, list[str]]:
    """Return the tags of an Audacity label track, ascending, and its labels that mean no shot by `means_shot`.

    Of a region its start is taken; a line of frequencies, which begins with a backslash, belongs to the label before.
    A track without any label says that there is no shot. One with other labels alone says nothing: None.

    Raises
    ------
    ValueError
        A line is not ``start<TAB>end<TAB>label`` with 0 <= start <= end in s; its number is named.
    """
    placed, other = set(), []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.startswith("\\"):
            continue
        start, end, label = [*line.split("\t", 2), "", ""][:3]
        where = f"{name}:{number}"
        # Audacity has written decimal commas where the system's language has them, and reads both.
        tag = Tag(_sample(start.replace(",", "."), end.replace(",", "."), sr, where), _confidence(label))
        if means_shot(_CONFIDENCE.sub("", label.strip()), labels):
            placed.add(tag)
        else:
            other.append(label.strip())
    return unique(list(placed)) if placed or not other else None, other


def _confidence(label: str) -> float | None:
    mark = _CONFIDENCE.search(label.strip())
    return float(mark[1]) if mark else None


def _sample(start, end, sr: int, where: str) -> int:
    try:
        first, last = float(start), float(end)
    except (TypeError, ValueError):
        first = last = float("nan")
    if not 0 <= first <= last < float("inf"):
        raise ValueError(f"{where}: {start!r} to {end!r}: a label must have a start and an end in s, 0 <= start <= end")
    return round(first * sr)


def label_studio(tags: dict[str, list[Tag]], *, sr: int) -> list[dict]:
    """Return tags by recording as Label Studio's tasks, to be written as JSON.

    A confirmed recording's tags are its annotation, an automatic one's are a prediction, scored; in that a tag that a
    person placed has no score. ``data.audio`` is the recording below LOCAL_FILES_DOCUMENT_ROOT of Label Studio's own
    storage. The labelling interface needs ``<Audio name="audio" value="$audio"/>`` and ``<Labels name="label"
    toName="audio"><Label value="shot"/></Labels>``.
    """
    tasks = []
    for name, placed in sorted(tags.items()):
        result = [_region(tag, after, sr) for tag, after in zip(placed, [*placed, None][1:], strict=True)]
        task: dict = {"data": {"audio": f"/data/local-files/?d={quote(name)}"}}
        if state(placed) == "confirmed":
            task["annotations"] = [{"result": result}]
        else:
            scores = [region["score"] for region in result if "score" in region]
            mean = round(sum(scores) / len(scores), 4)
            task["predictions"] = [{"model_version": "gunshot tag", "score": mean, "result": result}]
        tasks.append(task)
    return tasks


def _region(tag: Tag, after: Tag | None, sr: int) -> dict:
    start = tag.start / sr
    end = start + SHOWN_S if after is None else min(start + SHOWN_S, after.start / sr)
    value = {"start": start, "end": round(end, 6), "channel": 0, "labels": [LABEL]}
    region = {"id": str(tag.start), "from_name": "label", "to_name": "audio", "type": "labels", "value": value}
    return region if tag.confidence is None else region | {"score": round(tag.confidence, 2)}


def from_label_studio(
    text: str, *, sr: int, name: str = "tasks", labels: Collection[str] = SHOTS
) -> tuple[dict[str, list[Tag]], list[str], list[str]]:
    """Return tags by the recording that each task names, labels that mean no shot, and tasks that say nothing.

    A task's annotation counts, else its first prediction; skipped annotations do not. An annotation without any result
    says that there is no shot. One with other labels alone, or with a choice or a text, which names no place, says
    nothing. Nor does an empty prediction; another one's tags are automatic, as sure as the prediction where it gives
    no region a score.

    Raises
    ------
    ValueError
        The text is not a list of tasks, a task has no ``data.audio``, a region no start and end, or a task several
        annotations that differ; the task is named.
    """
    try:
        tasks = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as e:
        raise ValueError(f"{name}: must be JSON: {e}") from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ValueError(f"{name}: must be a list of tasks, as Label Studio exports them in the format JSON")
    tagged: dict[str, list[Tag]] = {}
    other, silent = [], []
    for number, task in enumerate(tasks):
        where = f"{name}: task {task.get('id', number)}"
        data = task.get("data")
        audio = data.get("audio") if isinstance(data, dict) else None
        if not isinstance(audio, str) or not audio:
            raise ValueError(f"{where}: data.audio must name the recording")
        annotations = _entries(task, "annotations", where)
        entries = annotations or _entries(task, "predictions", where)[:1]
        said = []
        for entry in entries:
            placed, others = _tags(entry, sr, where, labels)
            other += others
            if placed or (annotations and not others):
                said.append(placed if annotations else _automatic(placed, entry.get("score")))
        if any(placed != said[0] for placed in said):
            raise ValueError(f"{where}: {len(said)} annotations differ; mark one as ground truth, or delete the others")
        recording = meant(audio)
        if recording in tagged:
            raise ValueError(f"{where}: {recording}: a recording must have one task")
        if said:
            tagged[recording] = said[0]
        else:
            silent.append(recording)
    return tagged, other, silent


def _automatic(placed: list[Tag], score) -> list[Tag]:
    """Return a prediction's tags, none of them a person's alone; where it says of none how sure it is, as `score`."""
    if state(placed) == "automatic":
        return placed
    sure = float(score) if isinstance(score, int | float) and 0 <= score <= 1 else 0.0
    return [Tag(tag.start, sure) for tag in placed]


def _entries(task: dict, kind: str, where: str) -> list[dict]:
    entries = task.get(kind) or []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{where}: {kind} must be a list of objects")
    entries = [entry for entry in entries if not entry.get("was_cancelled")]
    return [entry for entry in entries if entry.get("ground_truth")] or entries


def _tags(entry: dict, sr: int, where: str, labels: Collection[str]) -> tuple[list[Tag], list[str]]:
    """Return an entry's tags, and what else it says: labels that mean no shot, choices, texts."""
    placed, other = set(), []
    result = entry.get("result")
    if not isinstance(result, list):  # one that is missing does not say that there is no shot
        raise ValueError(f"{where}: result={result!r} must be a list, empty where there is no shot")
    for region in result:
        value = region.get("value") if isinstance(region, dict) else None
        if not isinstance(value, dict):
            raise ValueError(f"{where}: a result must hold objects with a value")
        if more := value.keys() - _REGION or (value.keys() if "start" not in value else ()):
            # About the whole task, or more about a region.
            other += [f"{key} {text!r}, which names no place" for key, text in value.items() if key in more]
            continue
        start, score = _sample(value["start"], value.get("end"), sr, where), region.get("score")
        named = [str(label) for label in value.get("labels") or [""]]
        if not any(means_shot(label, labels) for label in named):
            other += named
            continue
        if score is not None and not (isinstance(score, int | float) and 0 <= score <= 1):
            raise ValueError(f"{where}: score={score!r} must be 0 to 1")
        placed.add(Tag(start, None if score is None else float(score)))
    return unique(list(placed)), other


def meant(audio: str) -> str:
    """Return the path that a Label Studio task's audio names: of its own storage, an upload, any URL or a path."""
    url = urlsplit(audio)
    if below := parse_qs(url.query).get("d"):
        return below[0]
    path = unquote(url.path) if "://" in audio else audio
    folder, _, file = path.rpartition("/")
    return f"{folder}/{_UPLOADED.sub('', file)}" if folder.startswith("/data/upload") else path


class Recordings:
    """The recordings that a file of another tool may mean."""

    def __init__(self, names: Iterable[str]):
        self._by_tail: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for name in names:
            *folders, file = PurePosixPath(name).parts
            for i in range(len(folders) + 1):
                self._by_tail[*folders[i:], file].add(name)
                self._by_tail[*folders[i:], PurePosixPath(file).stem].add(name)

    def find(self, path: str) -> str:
        """Return the recording whose path ends as `path` does, in the most parts, with its suffix or without.

        Of several the one whose whole path that is.

        Raises
        ------
        ValueError
            None does, or several do in as many parts.
        """
        parts = PurePosixPath(path.replace("\\", "/")).parts
        for i in range(len(parts)):
            recordings = self._by_tail.get(parts[i:], set())
            if (whole := "/".join(parts[i:])) in recordings:
                return whole
            if len(recordings) == 1:
                return next(iter(recordings))
            if recordings:
                first = ", ".join(sorted(recordings)[:3])
                raise ValueError(f"{path}: may be {len(recordings)} recordings ({first} ...); name it with its folders")
        raise ValueError(f"{path}: no recording's path ends like this; those of the class env take no tags")
