"""A second process for the tests of the generation counter: it commits until it is killed, and says how far it is."""

from __future__ import annotations

import itertools
import sys
from functools import partial
from pathlib import Path

from wallet.chain.interfaces import Row
from wallet.node.generation import Generation
from wallet.node.store import Store


def main() -> None:
    folder, path = Path(sys.argv[1]), Path(sys.argv[2])
    store = Store.open(path, password="")
    generation = Generation.take(folder, store)
    print(generation.origin.name, flush=True)
    store.start()
    for number in itertools.count():
        row = Row("counter", b"", number.to_bytes(8, "big"))
        store.submit((row,), partial(print, number, flush=True))
        if number % 7 == 0:
            generation.sync()


if __name__ == "__main__":
    main()
