"""A second process for the tests of the wallet's file: it writes until it is killed, or tries to get in."""

from __future__ import annotations

import itertools
import sys
import threading
from functools import partial
from pathlib import Path

from wallet.chain.interfaces import Row
from wallet.node import store as store_module
from wallet.node.store import Store, StoreError, WalletLock

AHEAD = 8
"""Batches that wait at once: the writer commits several together, and is killed between them."""


def write(path: Path, first: int) -> None:
    store = Store.open(path, password="")
    store.start()
    room = threading.Semaphore(AHEAD)

    def released(number: int) -> None:
        print(number, flush=True)
        room.release()

    for number in itertools.count(first):
        room.acquire()
        key = number.to_bytes(4, "big")
        rows = [
            Row("left", key, key * 20),
            Row("counter", b"", key),
            Row("right", key, key * 20),
        ]
        store.submit(rows, partial(released, number))


def change(path: Path, last: int) -> None:
    """Changes the password to the next number, and says so; again and again."""
    store_module.ARGON2_MEMORY_KIB, store_module.ARGON2_ITERATIONS, store_module.ARGON2_LANES = 64, 1, 1
    store = Store.open(path, password=str(last))
    store.start()
    for number in itertools.count(last + 1):
        store.change_password(str(number))
        print(number, flush=True)


def main() -> None:
    what, path = sys.argv[1], Path(sys.argv[2])
    try:
        if what == "lock":
            WalletLock(path.parent / "lock")
            print("mine")
        elif what == "hold":
            lock = WalletLock(path.parent / "lock")
            print("mine", flush=True)
            sys.stdin.read()
            lock.release()
        elif what == "open":
            Store.open(path, password="")
            print("mine")
        elif what == "password":
            change(path, int(sys.argv[3]))
        else:
            write(path, int(sys.argv[3]))
    except StoreError as error:
        print(error)


if __name__ == "__main__":
    main()
