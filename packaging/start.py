"""Where the frozen program begins. The process that lays the network map out is this program too: there is no Python to
run a module with."""

import os
import sys

from wallet.app import main


def forget_own_libraries() -> None:
    """What this program starts (a browser, the printer's queue) loads the system's libraries, not those that came with
    us: the frozen program was started with a path of its own, and the one of before stands beside it."""
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    else:
        os.environ.pop("LD_LIBRARY_PATH", None)


if __name__ == "__main__":
    if getattr(sys, "frozen", False):
        forget_own_libraries()
    if sys.argv[1:] == ["--make-network-map"]:
        from wallet.node.map_worker import main as make_map

        sys.exit(make_map())
    sys.exit(main())
