"""The commands of DOC/hub.md, Backup: a hub that was lost is there again, and its devices go on."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sql

from gunshot.hub import database
from tests.firmware.driven import shots
from tests.flows.prefect_server import postgresql
from tests.hub.network import Network, Sender, expected

pytestmark = pytest.mark.slow
SECTION = (Path(__file__).parents[2] / "DOC/hub.md").read_text().split("\n## Backup\n")[1].partition("\n## ")[0]
COMMANDS = re.findall(r"^    (.*)$", SECTION, re.M)
FIRST, SECOND = shots([0.7], 2.5, seed=1), shots([0.5], 2.5, seed=2)
# Debian's program is not in CI, SQLite itself is.
SQLITE3 = f"#!{sys.executable}\nimport sqlite3, sys\nsqlite3.connect(sys.argv[1]).execute(sys.argv[2])\n"


def do(place: Path, command: str) -> None:
    """Run a command of the page whose /srv and /backup are in a folder."""
    for name in ("/srv", "/backup"):
        command = command.replace(name, f"{place}{name}")
    done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, env={
        **os.environ, "PATH": f"{place}/bin:{os.environ['PATH']}"})  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_hub_that_was_lost_is_there_again(tmp_path):
    dump, pack, unpack, put_back, *_ = COMMANDS
    for name in ("srv", "backup", "bin"):
        (tmp_path / name).mkdir()
    (tmp_path / "bin/sqlite3").write_text(SQLITE3)
    (tmp_path / "bin/sqlite3").chmod(0o755)
    network = Network(tmp_path / "srv/gunshot")
    shutil.move(network.device, tmp_path / "roof")  # as a device's folder is moved to the device
    with contextlib.closing(Sender(tmp_path / "roof")) as sender:
        with network.broker(), network.hub():
            sender.hear(FIRST)
            sender.pump_until(lambda: not len(sender.outbox), "all is acknowledged")
            for command in (dump, pack):
                do(tmp_path, command)
        sent = network.payloads()
        shutil.rmtree(network.folder)
        sender.hear(SECOND)
        for command in (unpack, put_back):
            do(tmp_path, command)
        with network.broker(), network.hub():
            sender.pump_until(lambda: not len(sender.outbox), "it goes on")
    assert sent == expected(FIRST, 1) and network.payloads()[: len(sent)] == sent
    assert len(network.payloads()) > len(sent) and network.rows(database.REFUSED) == []


def test_a_postgresql_is_there_again(tmp_path):
    *_, dump, restore = COMMANDS
    (tmp_path / "backup").mkdir()
    with postgresql() as url:
        url = url.replace("+asyncpg", "")
        commands = [one.replace("postgresql://USER:PASSWORD@HOST/NAME", url) for one in (dump, restore)]
        with database.opened(url) as engine, engine.begin() as connection:
            connection.execute(sql.insert(database.DEVICE), [{"name": "roof", "number": 7}])
        do(tmp_path, commands[0])
        with database.opened(url) as engine:
            database.DATA.drop_all(engine)
        do(tmp_path, commands[1])
        with database.opened(url) as engine, engine.connect() as connection:
            assert connection.execute(sql.select(database.DEVICE.c.name, database.DEVICE.c.number)).all() == [
                ("roof", 7)
            ]
