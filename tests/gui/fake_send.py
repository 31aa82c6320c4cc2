"""The fake node's part in sending: payment links, keysend, contacts, names of one's own."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

from wallet.node.api import CommandError, Json, NodeStatus, RequestView

__all__ = ["FAKE_LINK", "FAKE_PSBT", "FakeSend"]

FAKE_LINK = "tea@shop.example"
FAKE_PSBT = "cHNidP8BAAoCAAAAAAAAAAAA"
COMMENT_LENGTH = 40


class FakeSend:
    """A part of `FakeNode`. Attributes: `link`: what the payment link takes; `says`: what its payee says once paid;
    `contacts`; `node_names`; `more_commands`, among them keysend."""

    foreign_invoice: Callable[..., str]
    invoices: dict[str, dict[str, Any]]
    do_lnpay: Callable[..., Json]
    requests: dict[str, RequestView]
    paid: set[str]
    status: NodeStatus

    def __init__(self) -> None:
        self.link: dict[str, Any] = {
            "min_msat": 1_000,
            "max_msat": 5_000_000_000,
            "description": "Tea for <b>two</b>",
            "comment_length": COMMENT_LENGTH,
        }
        self.says: dict[str, Json] = {}
        self.contacts: dict[str, str] = {}
        self.node_names: dict[str, str] = {}
        self.psbt_signed = False
        self.psbt_trouble = ""
        self.psbt_fee_note = ""
        self.coins: list[dict[str, Any]] = [
            {
                "prevout_hash": f"{number:02x}" * 32,
                "prevout_n": number,
                "value_sat": value_sat,
                "address": "bcrt1q" + f"{number}" * 38,
                "confirmations": confirmations,
                "label": label,
                "frozen": False,
                "reserved": False,
                "spendable": True,
            }
            for number, value_sat, confirmations, label in (
                (1, 1_000_000, 144, "From the exchange"),
                (2, 500_000, 6, ""),
                (3, 304_220, 0, "Refund"),
            )
        ]
        self.more_commands: dict[str, str] = {"keysend": "Pays a node."}

    def recognise_link(self, text: str) -> dict[str, Json] | None:
        """What a link, a lightning address, a node id or a contact's name is."""
        name = next((name for name in self.contacts if name.casefold() == text.casefold()), None)
        if name is not None:
            found = self.recognise_link(self.contacts[name])
            return None if found is None else {**found, "contact": name}
        lowered = text.lower().removeprefix("lightning:")
        if lowered == FAKE_LINK or lowered.startswith(("lnurl1", "lnurlp://")):
            return {
                "kind": "lnurlp",
                "message": "A payment link",
                "network_ok": True,
                "destination": text,
                "shown": FAKE_LINK,
                "host": "shop.example",
                "is_address": "@" in text,
            }
        if text == FAKE_PSBT:
            return {"kind": "psbt", "message": "A PSBT", "network_ok": True, "psbt": text}
        if len(text) == 66 and text[:2] in ("02", "03"):
            return {
                "kind": "node",
                "message": "A Lightning node",
                "network_ok": True,
                "node_id": text,
                "payee": text,
                "payee_alias": "The shop",
                "own": False,
                "can_pay": True,
                "why_not": None,
            }
        return None

    def do_recognise(self, text: str) -> Json:
        text = text.strip()
        link = self.recognise_link(text)
        if link is not None:
            return link
        bare = text.removeprefix("lightning:")
        if bare in self.invoices:
            details = dict(self.invoices[bare])
            if details["payment_hash"] in self.paid:
                details |= {
                    "already_paid": True,
                    "can_pay": False,
                    "why_not": "You have paid this invoice already.",
                }
            return {
                "kind": "invoice",
                "message": "An invoice",
                "network_ok": True,
                "invoice": bare,
                **details,
            }
        if any(request.invoice == bare for request in self.requests.values()):
            return {
                "kind": "invoice",
                "message": "An invoice",
                "network_ok": True,
                "invoice": bare,
                "payment_hash": "",
                "amount_msat": 1000,
                "description": "",
                "payee": self.status.node_id,
                "payee_alias": "",
                "expires_at": int(time.time()) + 100,
                "expired": False,
                "own": True,
                "already_paid": False,
                "can_pay": False,
                "why_not": "This invoice is your own: paying it would move nothing.",
                "max_fee_msat": 10_000,
            }
        if bare.startswith("lnbc") and not bare.startswith("lnbcrt"):
            return {
                "kind": "unknown",
                "message": "This invoice is for mainnet, and this wallet is on the sandbox.",
                "network_ok": False,
            }
        for prefix in ("bcrt1", "bitcoin:bcrt1"):
            if text.startswith(prefix):
                address = text.removeprefix("bitcoin:").split("?", 1)[0]
                amount_sat = 250_000 if "amount=" in text else None
                return {
                    "kind": "address",
                    "message": "A bitcoin address",
                    "network_ok": True,
                    "address": address,
                    "amount_sat": amount_sat,
                    "label": "",
                }
        if "@" in text and len(text) > 66:
            return {
                "kind": "node_uri",
                "message": "This is a node. Open a channel to it.",
                "network_ok": True,
            }
        return {
            "kind": "unknown",
            "message": "This is not something that can be paid. An invoice starts with lnbcrt, an address with bcrt1.",
            "network_ok": True,
        }

    def do_lnurlp_info(self, destination: str) -> Json:
        return {
            "destination": destination,
            "shown": FAKE_LINK,
            "host": "shop.example",
            "is_address": True,
            **self.link,
        }

    def do_lnurlp_invoice(self, destination: str, amount_msat: int, comment: str = "") -> Json:
        text = self.foreign_invoice(amount_msat, str(self.link["description"]))
        return {
            "invoice": text,
            "payment_hash": self.invoices[text]["payment_hash"],
            "payee": self.invoices[text]["payee"],
            "payee_alias": "The shop",
            "amount_msat": amount_msat,
            "description": self.link["description"],
            "max_fee_msat": max(10_000, amount_msat // 100),
        }

    def do_payment_deadline(self, payment_hash: str) -> Json:
        return {"height": 912_429, "blocks": 84}

    def do_payee_message(self, payment_hash: str) -> Json:
        return dict(self.says)

    def do_keysend(self, node_id: str, amount_msat: int, max_fee_msat: int, preimage: str) -> Json:
        payment_hash = hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
        invoice = self.foreign_invoice(amount_msat, "", payee=node_id, payment_hash=payment_hash)
        return self.do_lnpay(invoice, max_fee_msat=max_fee_msat)

    # --- coins and transactions that several hands sign ---------------------------------------

    def do_listunspent(self) -> Json:
        return [dict(coin) for coin in self.coins]

    def _set_frozen(self, coin: str, frozen: bool) -> Json:
        for item in self.coins:
            if f"{item['prevout_hash']}:{item['prevout_n']}" == coin:
                item["frozen"] = frozen
                if not frozen and item.pop("signed_for", None):
                    item["reserved"], item["spendable"] = False, True
        return True

    def do_freeze_utxo(self, coin: str) -> Json:
        return self._set_frozen(coin, True)

    def do_unfreeze_utxo(self, coin: str) -> Json:
        return self._set_frozen(coin, False)

    def do_psbt_info(self, psbt: str) -> Json:
        why_not = self.psbt_trouble or ("You have signed it already." if self.psbt_signed else None)
        return {
            "txid": "ab" * 32,
            "inputs": 2,
            "mine": 1,
            "outputs": [
                {
                    "address": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
                    "value_sat": 250_000,
                    "mine": False,
                },
                {"address": "bcrt1qours", "value_sat": 100_000, "mine": True},
            ],
            "fee_sat": 846,
            "fee_proven": not self.psbt_fee_note,
            "fee_note": self.psbt_fee_note,
            "set_aside": self.psbt_signed,
            "you_pay_sat": 250_846,
            "complete": self.psbt_signed,
            "can_sign": why_not is None,
            "why_not": why_not,
        }

    def do_signpsbt(self, psbt: str) -> Json:
        self.psbt_signed = True
        return {"psbt": FAKE_PSBT, "complete": True, "hex": "00"}

    def do_broadcast_psbt(self, psbt: str) -> Json:
        return "ab" * 32

    # --- contacts and names -----------------------------------------------------------------

    def do_listcontacts(self) -> Json:
        return [{"name": name, "destination": self.contacts[name]} for name in sorted(self.contacts)]

    def do_addcontact(self, name: str, destination: str) -> Json:
        if destination.startswith("lnbcrt"):
            raise CommandError("An invoice can be paid once only: keep something else.", code="usage")
        self.contacts[name] = destination
        return True

    def do_removecontact(self, name: str) -> Json:
        del self.contacts[name]
        return True

    def do_name_node(self, node_id: str, name: str = "") -> Json:
        self.node_names.pop(node_id, None)
        if name:
            self.node_names[node_id] = name
        return True

    def do_node_names(self) -> Json:
        return dict(self.node_names)

    @staticmethod
    def a_node(word: str) -> str:
        return "02" + hashlib.sha256(word.encode()).hexdigest()
