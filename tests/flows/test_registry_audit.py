"""`gunshot models verify` finds each kind of tampering, and names it."""

import json
import os
import re

import pytest

from gunshot.promotion import audit, registry
from gunshot.signing import keys, record
from tests.flows.registry_project import MODEL

pytest_plugins = "tests.flows.registry_project"


@pytest.fixture
def story(project):
    """Three lines: v1.0.0 and v1.1.0 promoted, then back to v1.0.0."""
    project.promote(project.second, "v1.0.0")
    project.rollback()
    assert audit.verify(project.root) == []
    return project


def lines(project) -> list[bytes]:
    return (project.root / record.PATH).read_bytes().splitlines(keepends=True)


def rewrite(project, changed: list[bytes]) -> None:
    (project.root / record.PATH).write_bytes(b"".join(changed))


def signed_anew(entries: list[dict]) -> list[bytes]:
    """The lines of entries, chained and signed with the operator's key of now, as its thief would do it."""
    key, out, previous = keys.private(), [], None
    for number, entry in enumerate(entries, 1):
        content = {k: v for k, v in entry.items() if k != "signature"}
        content |= {"number": number, "previous": previous, "key": keys.fingerprint(key.public_key())}
        content["signature"] = key.sign(record.canonical(content)).hex()
        out.append(record.canonical(content) + b"\n")
        previous = record.digest(content)
    return out


def edited(project):
    rewrite(project, [line.replace(b"better at night", b"better at noon!") for line in lines(project)])


def spaced(project):
    rewrite(project, [line.replace(b'","', b'", "', 1) for line in lines(project)])


def removed(project):
    first, _, third = lines(project)
    rewrite(project, [first, third])


def reordered(project):
    first, second, third = lines(project)
    rewrite(project, [second, first, third])


def truncated(project):
    rewrite(project, lines(project)[:2])


def cut_in_a_line(project):
    rewrite(project, [*lines(project)[:2], lines(project)[2][:100]])


def no_json(project):
    rewrite(project, [b"[]\n", b"\xff\n", lines(project)[2]])


def doubled(project):
    rewrite(project, [*lines(project), lines(project)[2]])


def signed_by_another(project):
    mark = os.environ["GUNSHOT_KEY"]
    os.environ["GUNSHOT_KEY"] = str(project.root.parent / "stranger.pem")
    try:
        keys.create("stranger", project.root.parent / "elsewhere")
        rewrite(project, signed_anew(record.read(project.root)))
    finally:
        os.environ["GUNSHOT_KEY"] = mark


def signed_by_a_thief_of_the_key(project):
    entries = record.read(project.root)
    entries[1]["reason"] = "it was asked for"
    rewrite(project, signed_anew(entries))


def one_line_signed_by_a_thief_of_the_key(project):
    entry = {k: v for k, v in record.read(project.root)[1].items() if k != "signature"} | {"by": "Eve"}
    entry["signature"] = keys.private().sign(record.canonical(entry)).hex()
    rewrite(project, [lines(project)[0], record.canonical(entry) + b"\n", lines(project)[2]])


def committed_by_a_thief_of_the_key(project):
    signed_by_a_thief_of_the_key(project)
    project.run("git", "commit", "-qam", "nothing to see here")


def tag_moved(project):
    message = project.run("git", "tag", "-l", "--format=%(contents)", "int8@v1.1.0")
    project.run("git", "tag", "-f", "-a", "-m", message.strip(), "int8@v1.1.0", project.first)


def tag_reworded(project):
    message = project.run("git", "tag", "-l", "--format=%(contents)", "int8@v1.1.0").replace("Ada", "Eve")
    project.run("git", "tag", "-f", "-a", "-m", message.strip(), "int8@v1.1.0", project.second)


def tag_made_plain(project):
    project.run("git", "tag", "-f", "int8@v1.1.0", project.second)


def tag_deleted(project):
    project.run("git", "tag", "-d", "int8@v1.1.0")


def tag_added(project):
    project.run("git", "tag", "-a", "-m", "sneaked in", "int8#prod#4", project.second)


def dossier_altered(project):
    registry.dossier_of(record.read(project.root)[0], project.root).write_text("another page")


def dossier_gone(project):
    registry.dossier_of(record.read(project.root)[0], project.root).unlink()


def cache_corrupt(project):
    path = project.cached(project.second)
    path.chmod(0o644)
    path.write_bytes(b"zzz")


def cache_gone(project):
    project.cached(project.second).unlink()


TAMPERING = {
    edited: r"line 2: its signature is not of what it says",
    spaced: r"line 1: is not written canonically",
    removed: r"line 2: says number=3; lines are missing",
    reordered: r"line 1: says number=2.*",
    truncated: r"tag int8#prod#3 is not in the record",
    cut_in_a_line: r"the last line does not end",
    no_json: r"line 1: must be a JSON object",
    doubled: r"line 4: says number=3",
    signed_by_another: r"key='[0-9a-f]{64}' is none of those in models/keys",
    signed_by_a_thief_of_the_key: r"tag int8@v1.1.0: its message is not what record line 2 makes it",
    one_line_signed_by_a_thief_of_the_key: r"line 3: does not follow the line before it",
    committed_by_a_thief_of_the_key: r"commit [0-9a-f]{12} has lines that are altered or gone",
    tag_moved: r"tag int8@v1.1.0 is at [0-9a-f]{40}, recorded is [0-9a-f]{40}",
    tag_reworded: r"tag int8@v1.1.0: its message is not what record line 2 makes it",
    tag_made_plain: r"tag int8@v1.1.0 is at no tag object",
    tag_deleted: r"tag int8@v1.1.0 of line 2 is missing",
    tag_added: r"tag int8#prod#4 is not in the record",
    dossier_altered: r"the dossier of line 1 was altered",
    dossier_gone: r"the dossier of line 1 is gone",
    cache_corrupt: r"model.tflite of [0-9a-f]{12}: md5=.* the object is corrupt",
}


@pytest.mark.slow
@pytest.mark.sweep(6)
@pytest.mark.parametrize("tamper", TAMPERING, ids=lambda f: f.__name__)
def test_tampering_is_found(story, tamper):
    tamper(story)
    faults = audit.verify(story.root)
    assert any(re.search(TAMPERING[tamper], fault) for fault in faults), faults
    before = story.state()
    if "tag_deleted" not in tamper.__name__ and "dossier" not in tamper.__name__ and "cache" not in tamper.__name__:
        with pytest.raises(ValueError, match=r"the record has faults|JSON"):
            story.rollback(to="v1.1.0")
        assert story.state() == before


@pytest.mark.slow
def test_a_cache_object_that_is_gone_is_found(copy):
    copy.promote(copy.second, "v1.0.0")
    cache_gone(copy)
    assert any("neither DVC's cache nor its remote gives it" in fault for fault in audit.verify(copy.root))


@pytest.mark.slow
def test_a_record_that_is_not_committed_is_found(story):
    story.run("git", "rm", "-q", "--cached", str(record.PATH))
    story.run("git", "commit", "-qm", "record away")
    story.run("git", "add", str(record.PATH))
    assert audit.verify(story.root) == []  # the history still begins it
    entries = record.read(story.root)
    assert json.loads(lines(story)[0]) == entries[0] and entries[0]["model"] == str(MODEL)
