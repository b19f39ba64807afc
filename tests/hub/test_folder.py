"""A hub's folder: what is made once stays, what others may read, and what is refused."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sql
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from gunshot.device import orders
from gunshot.device.place import Place
from gunshot.device.policy import Policy
from gunshot.hub import database, folder
from gunshot.signing import keys


def contents(place) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file() and "sqlite" not in path.name}


def init(place, **options) -> folder.Settings:
    return folder.init(place, **{"host": "hub.example", "port": 8883, "url": None} | options)


@pytest.fixture
def hub(tmp_path):
    init(tmp_path / "hub")
    folder.enrol(tmp_path / "hub", "roof", 7)
    return tmp_path / "hub"


def test_a_second_time_changes_nothing(hub):
    before = contents(hub)
    init(hub)
    assert folder.enrol(hub, "roof", 7) == hub / "devices/roof" and contents(hub) == before


def test_what_was_cut_off_is_completed_with_the_same_keys(hub):
    before = contents(hub)
    for name in ("hub.yaml", "client/cert.pem", "broker/ca.pem", "acl"):
        (hub / name).unlink()
    init(hub)
    after = contents(hub)
    assert set(after) == set(before)
    assert {name for name in before if before[name] != after[name]} == {str(hub / "client/cert.pem")}


def test_only_the_owner_reads_keys_and_passwords(hub):
    private = [*hub.rglob("key.pem"), hub / "authority/order.pem", hub / "hub.yaml"]
    assert len(private) == 8 and all(path.stat().st_mode & 0o777 == 0o600 for path in private)
    assert hub.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_somebody_made_is_closed_to_others(tmp_path):
    """The database in it has what was heard, and where."""
    tmp_path.chmod(0o755)
    init(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_device_gets_all_that_it_needs(hub):
    place = Place.load(hub / "devices/roof")
    assert place == Place(host="hub.example", port=8883, name="roof", number=7)
    assert {path.name for path in (hub / "devices/roof").iterdir()} == {
        "ca.pem",
        "cert.pem",
        "key.pem",
        "device.yaml",
        "order.pem",
    }


def test_what_a_folder_says_of_speech_and_who_may_overrule_it(hub, tmp_path):
    """Forbidden, unless this enrol was told otherwise. A key is made once, and is for devices from then on."""
    for options, policy in (({}, "forbidden"), ({"speech": Policy.allowed}, "allowed"), ({}, "forbidden")):
        assert Place.load(folder.enrol(hub, "gate", 8, **options)).speech == policy
    folder.overruler(hub, "anna", tmp_path / "anna.pem")
    known = orders.overrulers(folder.enrol(hub, "roof", 7))
    assert known == {"anna": keys.load(tmp_path / "anna.pem").public_key()}
    for name, file in (("anna", "other.pem"), ("ben", "anna.pem"), ("Ben", "ben.pem")):
        with pytest.raises(ValueError, match=r"exists; a key is never written over|must be lower case"):
            folder.overruler(hub, name, tmp_path / file)
    assert not list(hub.rglob("ben*"))


def test_certificates_are_of_the_authority_and_of_one_purpose(hub):
    """As the verifier of another library than the broker's sees it, now and in nine years."""

    def read(name):
        return x509.load_pem_x509_certificate((hub / name).read_bytes())

    store = Store([read("devices/roof/ca.pem")])
    for years in (0, 9):
        policy = PolicyBuilder().store(store).time(datetime.now(UTC) + timedelta(days=365 * years))
        policy.build_server_verifier(x509.DNSName("hub.example")).verify(read("broker/cert.pem"), [])
        with pytest.raises(x509.verification.VerificationError):
            policy.build_server_verifier(x509.DNSName("hub.example")).verify(read("devices/roof/cert.pem"), [])
    names = [read(f"{name}/cert.pem").subject.rfc4514_string() for name in ("broker", "client", "devices/roof")]
    assert names == ["CN=broker", "CN=hub", "CN=roof"]


def test_what_cannot_be_is_refused_and_changes_nothing(hub):
    before = contents(hub)
    for attempt, words in (
        (lambda: init(hub, host="other.example"), "host=other.example must be hub.example"),
        (lambda: init(hub, port=1), "port=1 must be 8883"),
        (lambda: init(hub, url="sqlite:////tmp/secret"), "database must be that of"),
        (lambda: folder.enrol(hub, "roof", 8), "number=8 must be 7, with which roof is enrolled"),
        (lambda: folder.enrol(hub, "cellar", 7), "number=7 must be a device's own; roof has it"),
        (lambda: folder.enrol(hub, "hub", 9), "name='hub' must be"),
        (lambda: folder.enrol(hub, "cellar", 2**32), "number=4294967296 must be from 0 to 4294967295"),
        (lambda: folder.enrol(hub / "devices", "cellar", 9), "make it with `gunshot hub init"),
    ):
        with pytest.raises(ValueError, match=re.escape(words)) as e:
            attempt()
        assert "secret" not in str(e.value)
    assert contents(hub) == before


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("oracle://a", ValueError, "database=oracle must be one of sqlite, postgresql"),
        ("nothing", ValueError, "database must be a URL"),
        ("postgresql://u:secret@localhost:1/x", ConnectionError, "u:\\*\\*\\*@localhost:1/x: .*refused"),
        ("sqlite:////nowhere/x", ConnectionError, "unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_is_named_without_its_password(tmp_path, url, error, words):
    with pytest.raises(error, match=words) as e:
        init(tmp_path / "hub", url=url)
    assert "secret" not in str(e.value) and not (tmp_path / "hub/hub.yaml").exists()


def test_an_error_of_the_database_is_one_line(tmp_path):
    with pytest.raises(ConnectionError, match="no such table: missing"), database.opened("sqlite://") as engine:  # noqa: SIM117
        with engine.begin() as connection:
            connection.execute(sql.text("SELECT * FROM missing"))
