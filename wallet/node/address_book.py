"""Contacts, names of one's own for nodes, and what payment links said: rows of the wallet's file, sealed as the rest.

Nothing of it leaves the wallet. All changes happen within an entry into the core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from wallet.chain.interfaces import Persist, Row
from wallet.node.lnurl import SuccessAction
from wallet.node.records import row, unpack

__all__ = ["AddressBook", "ContactRecord", "LinkRecord", "NodeNameRecord"]

CONTACT_SPACE = "node_contact"
NAME_SPACE = "node_name"
LINK_SPACE = "node_link"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactRecord:
    """Whom one pays again; space "node_contact", key the name.

    Attributes:
        destination: an address, a lightning address, a payment link, or a node.
    """

    name: str
    destination: str
    created_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNameRecord:
    """A name of one's own for a node; space "node_name", key the node id."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRecord:
    """What a payment over a link was for; space "node_link", key the payment hash.

    Attributes:
        shown: the lightning address, or the server's name.
        tag: of the success action; empty where there is none.
    """

    shown: str
    description: str
    comment: str
    tag: str = ""
    text: str = ""
    url: str = ""
    ciphertext: bytes = b""
    iv: bytes = b""

    @property
    def action(self) -> SuccessAction | None:
        if not self.tag:
            return None
        return SuccessAction(
            tag=self.tag, text=self.text, url=self.url, ciphertext=self.ciphertext, iv=self.iv
        )


class AddressBook:
    """Attributes: `contacts` by name, `names` by node id, `links` by payment hash."""

    def __init__(self, persist: Persist) -> None:
        self._persist = persist
        self.contacts: dict[str, ContactRecord] = {}
        self.names: dict[bytes, str] = {}
        self.links: dict[bytes, LinkRecord] = {}

    def read(self, rows: Callable[[str], Iterable[tuple[bytes, bytes]]]) -> None:
        """Takes up what is on disk."""
        contacts = (unpack(ContactRecord, value) for _key, value in rows(CONTACT_SPACE))
        self.contacts = {record.name: record for record in contacts}
        self.names = {key: unpack(NodeNameRecord, value).name for key, value in rows(NAME_SPACE)}
        self.links = {key: unpack(LinkRecord, value) for key, value in rows(LINK_SPACE)}

    def put_contact(self, record: ContactRecord) -> None:
        self.contacts[record.name] = record
        self._persist.write((row(CONTACT_SPACE, record.name.encode(), record),))

    def remove_contact(self, name: str) -> None:
        if self.contacts.pop(name, None) is not None:
            self._persist.write((Row(CONTACT_SPACE, name.encode(), None),))

    def find(self, name: str) -> ContactRecord | None:
        """A contact by its name, whatever the case."""
        wanted = name.strip().casefold()
        return next((item for key, item in self.contacts.items() if key.casefold() == wanted), None)

    def name_node(self, node_id: bytes, name: str) -> None:
        """An empty name takes it away."""
        if name:
            self.names[node_id] = name
            self._persist.write((row(NAME_SPACE, node_id, NodeNameRecord(name=name)),))
        elif self.names.pop(node_id, None) is not None:
            self._persist.write((Row(NAME_SPACE, node_id, None),))

    def put_link(self, payment_hash: bytes, record: LinkRecord) -> None:
        self.links[payment_hash] = record
        self._persist.write((row(LINK_SPACE, payment_hash, record),))
