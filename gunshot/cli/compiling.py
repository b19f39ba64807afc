"""A word before Numba compiles: seconds in which a command would seem to do nothing."""

import sys


def announce() -> None:
    """Let one line be printed on a terminal when Numba begins to compile: what it kept from before it only loads."""
    if not sys.stderr.isatty():  # what reads stderr waits for errors and warnings
        return
    from numba.core import event  # loaded by whoever compiles

    class Line(event.Listener):
        printed = False

        def on_start(self, event) -> None:
            if not self.printed:
                print("compiling for this processor, once; some 15 s", file=sys.stderr)
            self.printed = True

        def on_end(self, event) -> None:
            pass

    event.register("numba:compile", Line())
