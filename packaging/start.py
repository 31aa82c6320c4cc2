"""Where the frozen program begins. The process that lays the network map out is this program too: there is no Python to
run a module with."""

import sys

from wallet.app import main

if __name__ == "__main__":
    if sys.argv[1:] == ["--make-network-map"]:
        from wallet.node.map_worker import main as make_map

        sys.exit(make_map())
    sys.exit(main())
