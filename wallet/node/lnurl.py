"""LNURL-pay and lightning addresses: what a text asks for, what its server answers, and whether that can be believed.

The documents are called LUDs: 01 (bech32), 06 (pay), 09 and 10 (success actions), 12 (comments), 16 (addresses such
as name@host), 17 (`lnurlp://`), 18 (payer data). The server is a stranger: it can refuse, but not have another amount
paid than the person agreed to, nor for another description than the one that was shown.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import urllib.parse
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from wallet.bitcoin.bech32 import bech32_decode, convert_bits
from wallet.bitcoin.errors import DecodeError
from wallet.bitcoin.hashes import sha256
from wallet.i18n import _
from wallet.ln.invoice import Invoice
from wallet.node.sentences import msat_text
from wallet.node.web import WebClient, WebError, WebUrl, parse_url

__all__ = [
    "LnurlError",
    "LnurlTarget",
    "PayRequest",
    "SuccessAction",
    "check_invoice",
    "open_secret",
    "parse_lnurl",
    "parse_pay_request",
    "parse_success_action",
    "request_invoice",
    "request_pay",
]

MAX_ACTION_TEXT = 144
"""LUD-09: characters of a message or description."""
MAX_SECRET_TEXT = 4096
MAX_MSAT = 21_000_000 * 100_000_000 * 1000
MAX_COMMENT = 2_000
_ADDRESS = re.compile(r"([a-z0-9\-_.+]{1,64})@([a-z0-9\-.]{1,253}(?::[0-9]{1,5})?)")
_SCHEMES = {
    "lnurlw://": "withdraw",
    "lnurlc://": "channel",
    "keyauth://": "login",
}


class LnurlError(Exception):
    """A payment link cannot be used; the message is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LnurlTarget:
    """Where a payment link leads.

    Attributes:
        url: what is asked first.
        shown: the lightning address, or the server's name.
        is_address: it was written name@host.
    """

    url: WebUrl
    shown: str
    is_address: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PayRequest:
    """LUD-06, the server's first answer.

    Attributes:
        metadata_hash: of the metadata as it came: it has to be in the invoice.
        description: the `text/plain` of the metadata, made harmless.
        comment_length: characters of a comment that the payee takes; 0 takes none.
    """

    callback: WebUrl
    min_msat: int
    max_msat: int
    metadata_hash: bytes
    description: str
    comment_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessAction:
    """What the payee says once it is paid: text, a link, or a secret that the preimage opens (LUD-09, 10).

    Attributes:
        tag: "message", "url" or "aes".
        text: the message or the description.
        url: for "url" only, of the callback's own host.
        ciphertext, iv: for "aes" only.
    """

    tag: str
    text: str
    url: str = ""
    ciphertext: bytes = b""
    iv: bytes = b""


def parse_lnurl(text: str) -> LnurlTarget | None:
    """What a text asks for; None where it is no payment link. Raises `LnurlError` for one that cannot be used."""
    text = text.strip()
    lowered = text.lower()
    for prefix in ("lightning://", "lightning:"):
        if lowered.startswith(prefix):
            text, lowered = text[len(prefix) :], lowered[len(prefix) :]
            break
    for scheme, kind in _SCHEMES.items():
        if lowered.startswith(scheme):
            raise LnurlError(_not_for_paying(kind))
    try:
        if lowered.startswith("lnurlp://"):
            return _raw(text[len("lnurlp://") :])
        if lowered.startswith("lnurlp:"):
            return _raw(text[len("lnurlp:") :])
        if lowered.startswith("lnurl1"):
            return _bech32(lowered if text.isupper() else text)
        if lowered.startswith(("https://", "http://")):
            # LUD-01, fallback scheme: a web page's address that carries the link in its query.
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(text).query)
            inner = {key.lower(): values for key, values in query.items()}.get("lightning", [""])[0]
            return _bech32(inner) if inner.lower().startswith("lnurl1") else None
    except WebError as error:
        raise LnurlError(str(error)) from None
    except ValueError:
        raise LnurlError(_("This payment link cannot be read: a character of it must be wrong.")) from None
    found = _ADDRESS.fullmatch(lowered)
    if found is None or "." not in found[2] or re.fullmatch("[0-9a-f]{66}", found[1]):
        return None
    scheme = "http" if found[2].partition(":")[0].endswith(".onion") else "https"
    try:
        url = parse_url(f"{scheme}://{found[2]}/.well-known/lnurlp/{found[1]}")
    except WebError as error:
        raise LnurlError(str(error)) from None
    return LnurlTarget(url=url, shown=lowered, is_address=True)


def _raw(rest: str) -> LnurlTarget:
    """LUD-17: the link is an address with another scheme."""
    host = urllib.parse.urlsplit(f"https://{rest.lstrip('/')}").hostname or ""
    scheme = "http" if host.endswith(".onion") else "https"
    url = parse_url(f"{scheme}://{rest.lstrip('/')}")
    return LnurlTarget(url=url, shown=url.host, is_address=False)


def _bech32(text: str) -> LnurlTarget:
    """LUD-01. Raises `ValueError` (of which `DecodeError` is one) or `WebError`."""
    hrp, values = bech32_decode(text)
    if hrp != "lnurl":
        raise DecodeError("not a payment link")
    address = bytes(convert_bits(values, 5, 8, pad=False)).decode("utf-8")
    url = parse_url(address)
    tag = urllib.parse.parse_qs(url.target.partition("?")[2]).get("tag", [""])[0]
    if tag == "login":
        raise LnurlError(_not_for_paying(tag))
    return LnurlTarget(url=url, shown=url.host, is_address=False)


def _not_for_paying(kind: str) -> str:
    if kind == "withdraw":
        return _("This link pays out to you: it cannot be paid. Leyden cannot use it yet.")
    if kind == "channel":
        return _("This link asks for a channel: it cannot be paid. Leyden cannot use it yet.")
    return _("This link is for logging in somewhere: it cannot be paid. Leyden cannot use it yet.")


def _plain(text: str, limit: int) -> str:
    """A stranger's words as they are, on one line: no control or direction marks, cut short."""
    kept = [
        " " if char.isspace() else char for char in text[: limit * 4] if char.isspace() or char.isprintable()
    ]
    line = " ".join("".join(kept).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "\u2026"


# --- the server's answers --------------------------------------------------------------------


def _refused(host: str, answer: dict[str, object]) -> None:
    if str(answer.get("status", "")).upper() == "ERROR":
        reason = _plain(str(answer.get("reason") or ""), 200)
        raise LnurlError(
            _("{host} refuses, in its own words: {reason}").format(host=host, reason=reason)
            if reason
            else _("{host} refuses, and does not say why.").format(host=host)
        )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def parse_pay_request(host: str, answer: dict[str, object]) -> PayRequest:
    """LUD-06, step 3; raises `LnurlError`."""
    _refused(host, answer)
    tag = answer.get("tag")
    if tag != "payRequest":
        kind = {"withdrawRequest": "withdraw", "channelRequest": "channel", "login": "login"}.get(str(tag))
        raise LnurlError(
            _not_for_paying(kind)
            if kind is not None
            else _("{host} gave an answer that makes no sense.").format(host=host)
        )
    nonsense = LnurlError(_("{host} gave an answer that makes no sense.").format(host=host))
    min_msat, max_msat = _whole(answer.get("minSendable")), _whole(answer.get("maxSendable"))
    metadata, callback = answer.get("metadata"), answer.get("callback")
    if min_msat is None or max_msat is None or not 1 <= min_msat <= min(max_msat, MAX_MSAT):
        raise nonsense
    if not isinstance(metadata, str) or not isinstance(callback, str):
        raise nonsense
    try:
        callback_url = parse_url(callback)
        description = _description(metadata)
        # Half a character has no bytes, and its hash could be in no invoice.
        metadata_hash = sha256(metadata.encode("utf-8"))
    except (WebError, ValueError, RecursionError):
        raise nonsense from None
    # LUD-18: who demands to know the payer is told nothing here.
    payer_data = answer.get("payerData")
    for name, wish in payer_data.items() if isinstance(payer_data, dict) else ():
        if isinstance(wish, dict) and wish.get("mandatory") is True:
            raise LnurlError(
                _("{host} takes no payment without knowing your {what}. Leyden does not tell it.").format(
                    host=host, what=_plain(str(name), 40)
                )
            )
    return PayRequest(
        callback=callback_url,
        min_msat=min_msat,
        max_msat=min(max_msat, MAX_MSAT),
        metadata_hash=metadata_hash,
        description=description,
        comment_length=min(MAX_COMMENT, max(0, _whole(answer.get("commentAllowed")) or 0)),
    )


def _description(metadata: str) -> str:
    """The one `text/plain`; raises `ValueError` where there is none."""
    entries = json.loads(metadata, parse_float=str, parse_constant=str)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, list) and len(entry) >= 2 and entry[0] == "text/plain":
            if isinstance(entry[1], str):
                return _plain(entry[1], 300)
    raise ValueError("no description")


def check_invoice(host: str, invoice: Invoice, request: PayRequest, amount_msat: int) -> None:
    """LUD-06, steps 6 and 7: the invoice is over what was agreed, for what was shown; raises `LnurlError`."""
    if invoice.amount_msat != amount_msat:
        asked = _("no amount") if invoice.amount_msat is None else msat_text(invoice.amount_msat)
        raise LnurlError(
            _(
                "{host} sent an invoice over {asked}, not over the {agreed} agreed on. Nothing was paid."
            ).format(host=host, asked=asked, agreed=msat_text(amount_msat))
        )
    if invoice.description_hash != request.metadata_hash:
        raise LnurlError(
            _("{host} sent an invoice for something else than it said before. Nothing was paid.").format(
                host=host
            )
        )


def parse_success_action(host: str, callback: WebUrl, value: object) -> SuccessAction | None:
    """LUD-09 and 10. Raises `LnurlError` for one that could not be shown: then one must not pay."""
    if value is None:
        return None
    unknown = LnurlError(
        _("{host} would answer the payment in a way that Leyden cannot show. Nothing was paid.").format(
            host=host
        )
    )
    if not isinstance(value, dict):
        raise unknown
    tag = value.get("tag")
    text = value.get("message" if tag == "message" else "description")
    if tag not in ("message", "url", "aes") or not isinstance(text, str):
        raise unknown
    text = _plain(text, MAX_ACTION_TEXT)
    if tag == "message":
        return SuccessAction(tag="message", text=text)
    if tag == "url":
        try:
            link = parse_url(str(value.get("url")))
        except WebError:
            raise unknown from None
        if link.host != callback.host:
            raise unknown
        return SuccessAction(tag="url", text=text, url=str(link))
    try:
        ciphertext = base64.b64decode(str(value.get("ciphertext")), validate=True)
        iv = base64.b64decode(str(value.get("iv")), validate=True)
    except (binascii.Error, ValueError):
        raise unknown from None
    if len(iv) != 16 or not 0 < len(ciphertext) <= MAX_SECRET_TEXT or len(ciphertext) % 16:
        raise unknown
    return SuccessAction(tag="aes", text=text, ciphertext=ciphertext, iv=iv)


def open_secret(action: SuccessAction, preimage: bytes) -> str:
    """What the payee locked with the preimage (LUD-10); a sentence where it cannot be read."""
    opener = Cipher(algorithms.AES(preimage), modes.CBC(action.iv)).decryptor()
    padded = opener.update(action.ciphertext) + opener.finalize()
    unpadder = PKCS7(128).unpadder()
    try:
        plain = (unpadder.update(padded) + unpadder.finalize()).decode("utf-8")
    except ValueError:
        return _("The payee's message cannot be read: it was locked with another key.")
    return _plain(plain, MAX_SECRET_TEXT)


# --- asking -------------------------------------------------------------------------------------


async def request_pay(client: WebClient, target: LnurlTarget) -> PayRequest:
    """Asks what can be paid; raises `LnurlError`."""
    try:
        return parse_pay_request(target.url.host, await client.get_json(target.url))
    except WebError as error:
        raise LnurlError(str(error)) from None


async def request_invoice(
    client: WebClient, host: str, request: PayRequest, amount_msat: int, comment: str
) -> tuple[str, SuccessAction | None]:
    """The text of an invoice, which is still to be checked, and what comes after it; raises `LnurlError`."""
    if not request.min_msat <= amount_msat <= request.max_msat:
        raise LnurlError(
            _("{host} takes from {least} to {most}.").format(
                host=host, least=msat_text(request.min_msat), most=msat_text(request.max_msat)
            )
        )
    if len(comment) > request.comment_length:
        raise LnurlError(
            _("{host} takes a comment of {most} characters at most.").format(
                host=host, most=request.comment_length
            )
            if request.comment_length
            else _("{host} takes no comment.").format(host=host)
        )
    fields = {"amount": str(amount_msat)} | ({"comment": comment} if comment else {})
    try:
        answer = await client.get_json(request.callback.with_query(fields))
    except WebError as error:
        raise LnurlError(str(error)) from None
    _refused(host, answer)
    text = answer.get("pr")
    if not isinstance(text, str):
        raise LnurlError(_("{host} sent no invoice. Nothing was paid.").format(host=host))
    return text, parse_success_action(host, request.callback, answer.get("successAction"))
