// Offers, made without the bindings' builder.
import * as crypto from 'node:crypto';
import * as ldk from 'lightningdevkit';
import { SEED, unwrap } from './base.mjs';

// ---------------------------------------------------------------- offers

// The bindings' offer builder cannot be used: its setters work on a copy of it, so
// amount, description and the rest are lost without a word.  An offer is made here
// as rust-lightning makes it (offers/offer.rs, offers/signer.rs): the signing key is
// an HMAC over the nonce and the offer's records, the nonce travels in the blinded
// path, and LDK checks both when an invoice is asked for.
const hmac = (alg, key, ...parts) => { const h = crypto.createHmac(alg, key); for (const x of parts) h.update(x); return h.digest(); };
const offersBaseKey = (() => {
  const N = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
  const master = hmac('sha512', 'Bitcoin seed', SEED);
  const child = hmac('sha512', master.subarray(32), Buffer.from([0]), master.subarray(0, 32), Buffer.from([0x80, 0, 0, 5]));   // m/5'
  const k = (BigInt('0x' + child.subarray(0, 32).toString('hex')) + BigInt('0x' + master.subarray(0, 32).toString('hex'))) % N;
  const prk = hmac('sha256', 'LDK Inbound Payment Key Expansion', Buffer.from(k.toString(16).padStart(64, '0'), 'hex'));
  let t = Buffer.alloc(0);
  for (let i = 1; i <= 4; i++) t = hmac('sha256', prk, t, Buffer.from([i]));
  return t;
})();
const bigSize = (n) => {
  const v = BigInt(n);
  const [tag, len] = v < 0xfdn ? [null, 1] : v < 0x10000n ? [0xfd, 2] : v < 0x100000000n ? [0xfe, 4] : [0xff, 8];
  const b = Buffer.from(v.toString(16).padStart(len * 2, '0'), 'hex');
  return tag == null ? b : Buffer.concat([Buffer.from([tag]), b]);
};
const tu64 = (n) => { const h = BigInt(n).toString(16); return BigInt(n) === 0n ? Buffer.alloc(0) : Buffer.from(h.length & 1 ? '0' + h : h, 'hex'); };
const tlv = (type, value) => Buffer.concat([bigSize(type), bigSize(value.length), value]);
function bech32NoChecksum(hrp, bytes) {
  const A = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l';
  let acc = 0, bits = 0, out = '';
  for (const b of bytes) {
    acc = (acc << 8) | b; bits += 8;
    while (bits >= 5) { bits -= 5; out += A[(acc >> bits) & 31]; }
    acc &= (1 << bits) - 1;
  }
  if (bits) out += A[(acc << (5 - bits)) & 31];
  return `${hrp}1${out}`;
}
/** An offer with the fields of `p`; `node` lends the parts of the running node that it is made from. */
export function makeOffer(p, { entropy, peerManager, messageRouter, networkGraph, nodeId }) {
  const nonce = ldk.Nonce.constructor_from_entropy_source(entropy);
  const context = ldk.MessageContext.constructor_offers(ldk.OffersContext.constructor_invoice_request(nonce));
  const peers = peerManager.list_peers().filter((x) => x.get_init_features().supports_onion_messages()).map((x) => x.get_counterparty_node_id());
  const r = messageRouter.create_blinded_paths(nodeId, context, peers);
  if (!r.is_ok() || !r.res.length) throw new Error('offer: MissingPaths (no announced peer to be reached through)');
  if (p.amount_msat != null && p.description == null) p = { ...p, description: 'ldk-peer' };
  const records = [tlv(2, networkGraph.get_chain_hash())];
  if (p.amount_msat != null) records.push(tlv(8, tu64(p.amount_msat)));
  if (p.description != null) records.push(tlv(10, Buffer.from(p.description)));
  if (p.absolute_expiry != null) records.push(tlv(14, tu64(p.absolute_expiry)));
  records.push(tlv(16, Buffer.concat(r.res.slice(0, p.paths ?? 1).map((x) => x.write()))));
  if (p.issuer) records.push(tlv(18, Buffer.from(p.issuer)));
  if (p.quantity_max != null) records.push(tlv(20, tu64(p.quantity_max)));
  const stream = Buffer.concat(records);
  const secret = hmac('sha256', offersBaseKey, 'LDK Offer v2~~~~', nonce.as_slice(), stream, Buffer.alloc(16, 2), Buffer.alloc(16, 3));
  const ecdh = crypto.createECDH('secp256k1');
  ecdh.setPrivateKey(secret);
  return unwrap(ldk.Offer.constructor_from_str(bech32NoChecksum('lno', Buffer.concat([stream, tlv(22, ecdh.getPublicKey(null, 'compressed'))]))), 'offer');
}
