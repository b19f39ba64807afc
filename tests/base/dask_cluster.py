"""A Dask scheduler over TCP and TLS, and workers in processes of their own that come and go."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dask.config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TLS = "DASK_DISTRIBUTED__COMM__TLS__"


def certificate(folder: Path) -> dict[str, str]:
    """Make a key and a certificate that is its own authority, and return Dask's settings for all who have them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    (folder / "cert.pem").write_bytes(pem)
    settings = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True", f"{TLS}CA_FILE": str(folder / "cert.pem")}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        settings |= {f"{TLS}{role}__{kind.upper()}": str(folder / f"{kind}.pem") for kind in ("cert", "key")}
    return settings


class Cluster:
    """A scheduler and its workers, which are started in `cwd` with an environment."""

    def __init__(self, folder: Path, cwd: Path, env: dict[str, str]):
        self.folder, self.cwd = folder, cwd
        self.settings = certificate(folder) | {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
        self.env, self.processes = env | self.settings, []
        self.workers: list[subprocess.Popen] = []

    def start(self) -> None:
        """Start the scheduler and wait for its address."""
        file = self.folder / "scheduler.json"
        self._start("scheduler", "--host", "tls://127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        wait_for(lambda: file.exists() and file.read_text().endswith("}"))
        self.address = json.loads(file.read_text())["address"]

    def _start(self, *command: str, **env: str) -> subprocess.Popen:
        log = (self.folder / f"{len(self.processes)}.log").open("w")
        run = [sys.executable, "-m", "dask", *command, "--no-dashboard"]
        with log:
            started = subprocess.Popen(run, cwd=self.cwd, env=self.env | env, stdout=log, stderr=subprocess.STDOUT)
        self.processes.append(started)
        return started

    def add(self, **env: str) -> subprocess.Popen:
        """Return a new worker, that has perhaps not joined yet."""
        name = f"w{len(self.processes)}"
        self.workers.append(self._start("worker", self.address, "--no-nanny", "--nthreads", "1", "--name", name, **env))
        return self.workers[-1]

    def ensure(self, count: int) -> None:
        """Have so many workers that have joined."""
        from distributed import Client

        for _ in range(count - sum(worker.poll() is None for worker in self.workers)):
            self.add()
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=120)

    def end(self) -> None:
        for each in self.processes:
            each.kill()
            each.wait()


@contextmanager
def cluster(folder: Path, cwd: Path, env: dict[str, str]) -> Iterator[Cluster]:
    """Give a scheduler whose certificates this process has, too, and end all at the end."""
    import distributed  # noqa: F401 - its defaults come first: set back, what is laid over them would take them away

    started = Cluster(folder, cwd, env)
    try:
        started.start()
        paths = {key: value for key, value in started.settings.items() if key.startswith(TLS)}
        with dask.config.set({key.removeprefix("DASK_").lower().replace("__", "."): v for key, v in paths.items()}):
            yield started
    finally:
        started.end()


def wait_for(condition: Callable[[], object], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
