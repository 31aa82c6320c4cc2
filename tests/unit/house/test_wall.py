"""The plan of the house holds: imports point down, the core has no I/O, Qt's 32-bit ints carry no money."""

from __future__ import annotations

import pytest

from tests.unit.house import wall


def test_imports_point_down() -> None:
    found = [
        line
        for module, text, is_package in wall.sources()
        for line in wall.violations_in(text, module, is_package=is_package)
    ]
    assert not found, "\n".join(found)


def test_qt_ints_carry_no_money() -> None:
    found = [line for module, text, _ in wall.sources() for line in wall.money_in_qt_ints(text, module)]
    assert not found, "\n".join(found)


def test_the_window_never_sleeps() -> None:
    found = [
        line
        for module, text, _ in wall.sources()
        if wall.room_of(module) == "wallet.gui"
        for line in wall.blocking_calls(text, module)
    ]
    assert not found, "\n".join(found)


def test_every_source_is_read() -> None:
    names = {module for module, _, _ in wall.sources()}
    assert {"wallet", "wallet.ln", "wallet.ln.types", "wallet.bitcoin"} <= names


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("wallet.ln.channel", "import asyncio"),
        ("wallet.ln.channel", "import os.path"),
        ("wallet.ln.channel", "from time import monotonic"),
        ("wallet.ln.channel", "def late():\n    import threading"),
        ("wallet.ln.channel", "if TYPE_CHECKING:\n    from wallet.node import store"),
        ("wallet.ln.channel", "import importlib\nimportlib.import_module('sqlite3')"),
        ("wallet.ln.channel", "__import__('random')"),
        ("wallet.ln.channel", "from wallet.chain import electrum"),
        ("wallet.ln.channel", "from wallet.chain.electrum.client import Client"),
        ("wallet.ln.channel", "import wallet.chain"),
        ("wallet.ln.channel", "import wallet"),
        ("wallet.ln.channel", "from wallet.onchain import coins"),
        ("wallet.ln.channel", "from ..onchain import coins"),
        ("wallet.ln.channel", "from ..gui import pages"),
        ("wallet.ln.routing.gossip", "from ...node import store"),
        ("wallet.onchain.coins", "import secrets"),
        ("wallet.onchain.coins", "from wallet.ln.types import NodeId"),
        ("wallet.onchain.coins", "from PyQt6.QtCore import QObject"),
        ("wallet.bitcoin.tx", "from wallet.chain.interfaces import Confirm"),
        ("wallet.i18n", "from wallet.bitcoin.tx import Txid"),
        ("wallet.chain.electrum.client", "from wallet.ln import types"),
        ("wallet.node.store", "from wallet.gui import app"),
        ("wallet.node.store", "from wallet.sandbox import chain"),
        ("wallet.node.store", "from PyQt6 import QtCore"),
        ("wallet.sandbox.chain", "from wallet.gui import app"),
        ("wallet.gui.send", "import socket"),
        ("wallet.gui.send", "from urllib.request import urlopen"),
        ("wallet.gui.send", "from PyQt6.QtNetwork import QTcpSocket"),
        ("wallet.gui.send", "from wallet.sandbox import chain"),
        ("wallet.gui.send", "from wallet.ln.channel import Channel"),
        ("wallet.gui.send", "from wallet import app"),
        ("wallet", "from wallet import app"),
        ("wallet.attic.chest", "import math"),
    ],
)
def test_a_climber_is_caught(module: str, source: str) -> None:
    assert wall.violations_in(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "wallet.ln.channel",
            "from wallet.chain.interfaces import Watch\nfrom wallet.chain import interfaces",
        ),
        (
            "wallet.ln.channel",
            "from wallet.bitcoin import tx\nfrom . import types\nfrom .types import NodeId",
        ),
        ("wallet.ln.channel", "import struct, hashlib, dataclasses, enum"),
        ("wallet.ln.channel", "from timeit_like import osprey  # a name that only begins like a banned one"),
        ("wallet.onchain.coins", "from wallet.i18n import translate"),
        ("wallet.bitcoin.tx", "from wallet.i18n import _"),
        (
            "wallet.chain.electrum.client",
            "import asyncio, aiorpcx\nfrom wallet.chain.interfaces import Confirm",
        ),
        (
            "wallet.node.store",
            "import sqlite3\nfrom wallet.ln import channel\nfrom wallet.onchain import coins",
        ),
        ("wallet.sandbox.chain", "from wallet.node import node\nimport asyncio"),
        (
            "wallet.gui.send",
            "from wallet.node import api\nfrom PyQt6.QtWidgets import QWidget\nfrom . import tokens",
        ),
        ("wallet.app", "import wallet.gui.main\nfrom wallet.sandbox import chain"),
        ("wallet.__main__", "from wallet.app import main"),
    ],
)
def test_what_the_plan_allows_passes(module: str, source: str) -> None:
    assert wall.violations_in(source, module) == []


def test_relative_imports_of_a_package_start_at_the_package() -> None:
    assert wall.violations_in("from . import types", "wallet.ln", is_package=True) == []
    assert wall.violations_in("from .. import node", "wallet.ln", is_package=True)


@pytest.mark.parametrize(
    "source",
    [
        "changed = pyqtSignal(int)",
        "changed = QtCore.pyqtSignal(str, int)",
        "changed = pyqtSignal([int], [str])",
        "changed = pyqtSignal('int')",
        "@pyqtSlot(int)\ndef show(self, amount): ...",
        "from PyQt6.QtWidgets import QSpinBox",
        "field = QtWidgets.QSpinBox()",
    ],
)
def test_money_in_a_qt_int_is_caught(source: str) -> None:
    assert wall.money_in_qt_ints(source, "wallet.gui.send")


def test_objects_in_signals_pass() -> None:
    assert wall.money_in_qt_ints("changed = pyqtSignal(object)\nint(3)", "wallet.gui.send") == []


@pytest.mark.parametrize("source", ["import time\ntime.sleep(1)", "from time import sleep"])
def test_a_sleeping_window_is_caught(source: str) -> None:
    assert wall.blocking_calls(source, "wallet.gui.send")
