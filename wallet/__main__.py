"""`python -m wallet` is the command `leyden`."""

from __future__ import annotations

import sys

from wallet.app import main

if __name__ == "__main__":
    sys.exit(main())
