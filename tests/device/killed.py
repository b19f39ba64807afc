"""A process that takes an image again and again, and is killed each time at another place: at a byte, or before a call.

`python -m tests.device.killed FOLDER STEP` prints how often it was killed; what a start would run then is looked at.
"""

import itertools
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from gunshot.device.slots import Slots
from tests.device.images import image, manifest, trusting

OLD, NEW = image(b"old", params=b""), image(b"a newer model" * 9, params=b"a: 1" * 40)
ORDERS = "a" * 32, "b" * 32
PART = 100
CALLS = ("replace", "fsync", "write", "ftruncate", "chmod", "close")


def fetch(one: Slots, content: bytes, number: int) -> bytes:
    """Write an image by parts; its manifest."""
    signed = manifest(content, number)
    begun = one.begin(signed) // PART * PART
    for at in range(begun, len(content), PART):
        one.add(signed, content[at : at + PART], at=at)
    return signed


def take(folder: Path, between: Callable[[], None] = lambda: None) -> None:
    """Fetch NEW, run it on trial, and keep it."""
    one = Slots(folder)
    one.boot()
    signed = fetch(one, NEW, 2)
    between()
    one.finish(signed, ORDERS[1], lambda _: None)
    one.boot()
    one.calm()
    one.keep()
    one.close()


def killed(folder: Path, doing: Callable[[], None]) -> bool:
    """Whether a process that does something is killed before it has done it."""
    if (child := os.fork()) == 0:
        doing()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, status
    return os.WIFSIGNALED(status)


def at_byte(size: int) -> None:
    """Be killed by the system as soon as a file grows beyond a size."""
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def before_call(count: int) -> None:
    """Be killed before so many calls of the system that write."""
    left = itertools.count(count, -1)

    def counting(call: Callable) -> Callable:
        def called(*arguments, **options):
            if not next(left):
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return called

    for name in CALLS:
        setattr(os, name, counting(getattr(os, name)))


def look(folder: Path, *, is_whole: bool) -> None:
    """Look at what a start runs: one of both images, whole; OLD where NEW was not here whole."""
    one = Slots(folder)
    model = one.boot().read_bytes()
    assert model in ([b"a newer model" * 9, b"old"] if is_whole else [b"old"]), model
    assert (one.state.least == 2) == (one.state.kept.manifest == manifest(NEW, 2).hex())
    one.close()
    take(folder)  # and the rest comes, whatever was left
    assert Slots(folder).boot().read_bytes() == b"a newer model" * 9


def main(base: Path, step: int) -> None:
    """Print how often it was killed, and that a start ran one of both."""
    one = Slots(trusting(base / "device"))
    one.finish(fetch(one, OLD, 1), ORDERS[0], lambda _: None)
    one.boot()
    one.keep()
    one.close()
    count, folder = 0, base / "copy"
    deeds = {
        "byte of the image": (lambda size: lambda: (at_byte(size), take(folder)), False),
        "byte of what says which": (lambda size: lambda: take(folder, lambda: at_byte(size)), True),
        "call": (lambda calls: lambda: (before_call(calls), take(folder)), True),
    }
    for name, (doing, is_whole) in deeds.items():
        for place in itertools.count(0, 1 if name == "call" else step):
            shutil.copytree(base / "device", folder)
            if name == "call" and place == 0:
                place = 1
            is_killed = killed(folder, doing(place))
            if is_killed:
                count += 1
                look(folder, is_whole=is_whole)
            shutil.rmtree(folder)
            if not is_killed or (not is_whole and place + step >= len(NEW)):
                break
    print(count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
