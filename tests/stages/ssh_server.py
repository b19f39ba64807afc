"""An OpenSSH server on loopback, as a team's storage has one, and what its users need to log in."""

import contextlib
import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.prefect_server import free_port, started

SSHD = Path("/usr/sbin/sshd")
CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PidFile none
Subsystem sftp internal-sftp
"""


class SshServer:
    """A server with a host key, a configuration and an account's key of its own, in a folder."""

    def __init__(self, folder: Path):
        if not SSHD.is_file():
            pytest.fail(f"{SSHD}: no such file; apt-get install openssh-server")
        self.folder, self.port = folder, free_port()
        for name in ("host", "key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name]
            subprocess.run(command, check=True)
        (folder / "sshd.conf").write_text(CONFIG.format(folder=folder, port=self.port))

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen]:
        """Run it; give its process once it answers."""
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # Debian's service makes it
        log = self.folder / "sshd.log"
        with started(log, SSHD, "-D", "-e", "-f", self.folder / "sshd.conf") as one:
            end = time.monotonic() + 30
            while True:
                assert one.poll() is None and time.monotonic() < end, log.read_text()
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(self.port))) as asked:
                    if asked.recv(4) == b"SSH-":
                        break
                time.sleep(0.05)
            yield one

    def url(self, path: Path) -> str:
        """Return a folder's address, for DVC and for Git."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    @property
    def git(self) -> str:
        """Return what GIT_SSH_COMMAND must be: nothing of a user's own settings is read, and the host key is known."""
        host = " ".join((self.folder / "host.pub").read_text().split()[:2])
        known = self.folder / "known_hosts"
        known.write_text(f"[127.0.0.1]:{self.port} {host}\n")
        return f"ssh -F none -i {self.folder / 'key'} -o IdentitiesOnly=yes -o UserKnownHostsFile={known}"

    def logins(self) -> int:
        """Return how many times somebody has logged in."""
        return (self.folder / "sshd.log").read_text().count("Accepted publickey")


@pytest.fixture
def ssh(tmp_path) -> SshServer:
    """A server that is not started yet."""
    folder = tmp_path / "ssh"
    folder.mkdir()
    return SshServer(folder)
