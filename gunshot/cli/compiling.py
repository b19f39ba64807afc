"""A word before Numba compiles: seconds in which a command would seem to do nothing."""

import sys


def announce() -> None:
    """Let one line be printed on a terminal when Numba begins to compile: what it kept from before it only loads."""
    if not sys.stderr.isatty():  # what reads stderr waits for errors and warnings
        return
    from numba.core import event  # loaded by whoever compiles

    class Line(event.Listener):
        told = False

        def on_start(self, event) -> None:
            if not self.told:
                print("compiling for this processor, once; some 15 s", file=sys.stderr)
            self.told = True

        def on_end(self, event) -> None:
            pass

    event.register("numba:compile", Line())
