// What every part of the peer uses: the command line, the log, hex and JSON, LDK's options and results, and the
// two rules of the WASM bindings (keep what Rust points at, never throw in a callback).
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import { parseArgs } from 'node:util';
import * as ldk from 'lightningdevkit';
import { CommonBase } from 'lightningdevkit/structs/CommonBase.mjs';

// ---------------------------------------------------------------- arguments

const OPTIONS = {
  name: ['string', ''],              // defaults to the seed text
  alias: ['string', ''],
  seed: ['string', ''],              // 64 hex digits, or any text (hashed)
  'ln-port': ['string', '0'],
  'ctl-port': ['string', '0'],
  'rpc-url': ['string', 'http://127.0.0.1:18443'],
  'rpc-user': ['string', ''],
  'rpc-pass': ['string', ''],
  'rpc-cookie': ['string', ''],      // path of bitcoind's .cookie, instead of user/pass
  'rpc-wallet': ['string', ''],      // bitcoind wallet to use; made if absent (default ldk-NAME)
  datadir: ['string', ''],           // persist state there (default: memory only)
  log: ['string', ''],               // log file (default stderr)
  'log-level': ['string', 'info'],   // gossip|trace|debug|info|warn|error|off
  'poll-ms': ['string', '250'],
  'tick-s': ['string', '60'],        // ChannelManager timer
  'forward-delay-ms': ['string', '10'],
  'min-depth': ['string', '1'],
  'to-self-delay': ['string', '144'],
  'feerate-anchor': ['string', '253'],       // sat per 1000 weight
  'feerate-nonanchor': ['string', '1000'],
  'feerate-sweep': ['string', '500'],
  'feerate-max': ['string', '25000'],
  'max-dust-msat': ['string', ''],   // fixed dust exposure limit (default LDK's multiplier)
  'max-accepted-htlcs': ['string', '50'],
  'max-in-flight-percent': ['string', '100'],
  'cltv-delta': ['string', '72'],
  'fee-base-msat': ['string', '1000'],
  'fee-ppm': ['string', '0'],
  'no-anchors': ['boolean', false],  // do not offer anchors at all
  'scid-privacy': ['boolean', false],
  'no-upfront-shutdown': ['boolean', false], // do not commit to a closing script at opening (needed for close with "script")
  zeroconf: ['boolean', false],      // accept inbound channels as 0-conf
  'priv-forwards': ['boolean', true],
  'no-utxo-lookup': ['boolean', false],      // do not check announced channels on chain
  'no-blinded-fallback': ['boolean', false], // LDK's own rules for blinded paths only
};
export const { values: ARGS } = parseArgs({
  options: Object.fromEntries(Object.entries(OPTIONS).map(([k, [type, dflt]]) => [k, { type, default: dflt }])),
  allowNegative: false,
});
export const num = (k) => {
  const n = Number(ARGS[k]);
  if (!Number.isFinite(n)) throw new Error(`--${k} wants a number`);
  return n;
};
if (!ARGS.seed) throw new Error('--seed is needed');
export const SEED = /^[0-9a-f]{64}$/i.test(ARGS.seed)
  ? Buffer.from(ARGS.seed, 'hex') : crypto.createHash('sha256').update('ldk-peer:' + ARGS.seed).digest();
export const NAME = ARGS.name || ARGS.alias || (ARGS.seed.length < 32 ? ARGS.seed : ARGS.seed.slice(0, 8));
export const ALIAS = ARGS.alias || NAME;

// ---------------------------------------------------------------- small things

export const LEVELS = { gossip: 0, trace: 1, debug: 2, info: 3, warn: 4, error: 5, off: 9 };
let level = LEVELS[ARGS['log-level']] ?? 3;
export const logLevel = () => level;
export const setLogLevel = (name) => { level = LEVELS[name] ?? level; };
const logFd = ARGS.log ? fs.openSync(ARGS.log, 'a') : 2;
export function log(severity, where, text) {
  if (LEVELS[severity] < level) return;
  try {
    fs.writeSync(logFd, `${new Date().toISOString()} ${NAME} ${severity.padEnd(6)} ${where}: ${text}\n`);
  } catch { /* a full disk or a closed pipe must not stop the node */ }
}
// The bindings talk through console; stdout is kept for our own READY line.
console.log = (...a) => log('info', 'console', a.map(String).join(' '));
console.error = (...a) => log('error', 'console', a.map((x) => x?.stack ?? String(x)).join(' '));

export const hex = (b) => (b == null ? null : Buffer.from(b).toString('hex'));
export const unhex = (s, len) => {
  if (typeof s !== 'string' || !/^([0-9a-f]{2})*$/i.test(s)) throw new Error(`not hex: ${s}`);
  const b = new Uint8Array(Buffer.from(s, 'hex'));
  if (len && b.length !== len) throw new Error(`want ${len} bytes, got ${b.length}`);
  return b;
};
export const txidHex = (b) => hex(Uint8Array.from(b).reverse());   // internal order -> shown order
export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));
export const btc = (sat) => { const s = BigInt(sat); return `${s / 100000000n}.${(s % 100000000n).toString().padStart(8, '0')}`; };
export const toSat = (x) => BigInt(Math.round(Number(x) * 1e8));
export const jsonable = (k, v) => (typeof v === 'bigint' ? (v <= 9007199254740991n && v >= -9007199254740991n ? Number(v) : v.toString()) : v);
export const toJSON = (o) => JSON.stringify(o, jsonable);
export const opt = (o) => (o == null ? null : (o.some === undefined ? null : o.some));   // LDK Option -> value
export const enumName = (e, v, prefix) => (v == null ? null : String(e[v] ?? v).replace(prefix, ''));
export const scidText = (s) => (s == null ? null : `${s >> 40n}x${(s >> 16n) & 0xffffffn}x${s & 0xffffn}`);
export const unwrap = (res, what) => {   // LDK Result -> value or exception
  if (res.is_ok()) return res.res;
  throw new Error(`${what}: ${errText(res.err)}`);
};
export function errText(e) {
  if (e == null) return 'error';
  if (typeof e !== 'object') return String(e);
  const name = e.constructor.name;
  if (typeof e.err === 'string') return `${name}: ${e.err}`;
  if (typeof e.get_err === 'function') return `${name}: ${e.get_err()}`;
  if (typeof e.to_str === 'function') return `${name}: ${e.to_str()}`;
  return name;
}
export const none = {
  u64: () => ldk.Option_u64Z.constructor_none(), u32: () => ldk.Option_u32Z.constructor_none(),
  u16: () => ldk.Option_u16Z.constructor_none(), b32: () => ldk.Option_ThirtyTwoBytesZ.constructor_none(),
  str: () => ldk.Option_StrZ.constructor_none(),
};
export const optU64 = (v) => (v == null ? none.u64() : ldk.Option_u64Z.constructor_some(BigInt(v)));
export const optU32 = (v) => (v == null ? none.u32() : ldk.Option_u32Z.constructor_some(Number(v)));
export const optU16 = (v) => (v == null ? none.u16() : ldk.Option_u16Z.constructor_some(Number(v)));
export const optB32 = (v) => (v == null ? none.b32() : ldk.Option_ThirtyTwoBytesZ.constructor_some(v));
export const optStr = (v) => (v == null ? none.str() : ldk.Option_StrZ.constructor_some(String(v)));

// Everything Rust may call back or point into is kept here for the life of the
// process: the bindings hold our objects by WeakRef only ("Got function call on
// GC'd JS object!" ends the node).
export const KEEP = [];
export const keep = (o) => { KEEP.push(o); return o; };

// Free a wrapper now instead of whenever the garbage collector runs.  V8 does not
// see the WASM memory behind it, so it feels no hurry of its own.
export function freeNow(obj, freeFn) {
  const ptr = CommonBase.get_ptr_of(obj);
  if (ptr === 0n) return;
  CommonBase.set_null_skip_free(obj);
  freeFn(ptr);
}

// A callback that throws unwinds through Rust frames and leaves its locks taken:
// never let that happen.
export const guarded = (what, dflt, fn) => function guardedCallback(...a) {
  try { return fn(...a); } catch (e) {
    log('error', what, e.stack ?? e);
    return typeof dflt === 'function' ? dflt() : dflt;
  }
};
