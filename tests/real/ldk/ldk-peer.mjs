#!/usr/bin/env node
// A small Lightning node daemon built on rust-lightning (LDK, compiled to WASM:
// npm "lightningdevkit"), meant as an interop test peer on regtest.
//
//   node ldk-peer.mjs --seed alice --ln-port 19735 --ctl-port 19835 \
//        --rpc-url http://127.0.0.1:18443 --rpc-user u --rpc-pass p
//
// It prints one line "READY {json}" on stdout once it listens, and is driven by
// JSON requests on the control port: either HTTP ("POST /" with the body
// {"method": ..., "params": {...}}, or "POST /METHOD" with the params as body) or
// one JSON object per line over plain TCP.  See README.md.
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { createRequire } from 'node:module';
import * as ldk from 'lightningdevkit';
import * as bindings from 'lightningdevkit/bindings.mjs';
import { CommonBase, WitnessVersion } from 'lightningdevkit/structs/CommonBase.mjs';
import { NodeLDKNet } from 'lightningdevkit-node-net';
import {
  ALIAS, ARGS, LEVELS, NAME, SEED, btc, enumName, errText, freeNow, guarded, hex, keep, log, logLevel, none, num, opt,
  optB32, optStr, optU16, optU32, optU64, scidText, setLogLevel, sleep, toJSON, toSat, txidHex, unhex, unwrap,
} from './base.mjs';
import { RPC, loadWallet, rpc, rpcSync, walletScript, wrpc, wrpcSync } from './bitcoind.mjs';
import { featureNamesLE, featuresOf } from './features.mjs';
import { controlServer } from './control.mjs';
import { makeOffer } from './offers.mjs';

const T_START = Date.now();

// ---------------------------------------------------------------- LDK: load

const require = createRequire(import.meta.url);
let wasmMemory = null;   // to see how big it gets; it never shrinks
const instantiate = WebAssembly.instantiate;
WebAssembly.instantiate = async (...a) => { const r = await instantiate(...a); wasmMemory = r.instance.exports.memory; return r; };
await ldk.initializeWasmFromBinary(fs.readFileSync(require.resolve('lightningdevkit/liblightningjs.wasm')));
WebAssembly.instantiate = instantiate;
const T_WASM = Date.now();

const OK_EVENT = keep(ldk.Result_NoneReplayEventZ.constructor_ok());
const COMPLETED = ldk.ChannelMonitorUpdateStatus.LDKChannelMonitorUpdateStatus_Completed;

// ---------------------------------------------------------------- log of what happened

const events = [];
let eventSeq = 0;
const eventWaiters = new Set();
function note(type, data = {}) {
  const e = { seq: ++eventSeq, t: Date.now(), type, ...data };
  events.push(e);
  if (events.length > 20000) events.splice(0, 5000);
  log('info', 'event', `${type} ${toJSON(data)}`);
  for (const w of [...eventWaiters]) w(e);
  return e;
}
function waitEvent(match, timeoutMs, since = Infinity) {
  for (const e of events) if (e.seq > since && match(e)) return Promise.resolve(e);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => { eventWaiters.delete(w); reject(new Error('timed out waiting for an event')); }, timeoutMs);
    const w = (e) => { if (match(e)) { clearTimeout(timer); eventWaiters.delete(w); resolve(e); } };
    eventWaiters.add(w);
  });
}

// ---------------------------------------------------------------- LDK: our side of its interfaces

const logger = keep(ldk.Logger.new_impl({
  log(record) {
    try {
      const level = record.get_level();
      if (level >= logLevel()) {
        const peer = record.get_peer_id();
        log(Object.keys(LEVELS)[level] ?? 'info', record.get_module_path() + (peer?.length ? ` ${hex(peer).slice(0, 8)}` : ''), record.get_args());
      }
      freeNow(record, bindings.Record_free);
    } catch (e) { log('error', 'logger', e.stack ?? e); }
  },
}));

const FEES = {
  MaximumFeeEstimate: num('feerate-max'), UrgentOnChainSweep: num('feerate-sweep'),
  MinAllowedAnchorChannelRemoteFee: 253, MinAllowedNonAnchorChannelRemoteFee: 253,
  AnchorChannelFee: num('feerate-anchor'), NonAnchorChannelFee: num('feerate-nonanchor'),
  ChannelCloseMinimum: 253, OutputSpendingFee: num('feerate-sweep'),
};
const feeEstimator = keep(ldk.FeeEstimator.new_impl({
  get_est_sat_per_1000_weight: guarded('fees', 253, (t) => FEES[enumName(ldk.ConfirmationTarget, t, 'LDKConfirmationTarget_')] ?? 253),
}));

const broadcasts = [];
async function broadcast(hexes) {
  if (hexes.length > 1) {
    try {
      const r = await rpc('submitpackage', hexes);
      const bad = Object.entries(r['tx-results'] ?? {}).filter(([, v]) => v.error);
      broadcasts.push({ t: Date.now(), package: Object.values(r['tx-results'] ?? {}).map((v) => v.txid), msg: r.package_msg, errors: bad.map(([, v]) => v.error) });
      log('info', 'broadcast', `package of ${hexes.length}: ${r.package_msg} ${toJSON(bad.map(([, v]) => v.error))}`);
      if (!bad.length) return;
    } catch (e) { log('info', 'broadcast', `submitpackage: ${e.message}; one by one`); }
  }
  for (const h of hexes) {
    try {
      const txid = await rpc('sendrawtransaction', h, 0);
      broadcasts.push({ t: Date.now(), txid, ok: true });
      log('info', 'broadcast', `sent ${txid}`);
    } catch (e) {
      const known = e.code === -27 || /already in|txn-already-known/.test(e.message);
      broadcasts.push({ t: Date.now(), ok: known, error: e.message, hex: known ? undefined : h });
      log(known ? 'debug' : 'warn', 'broadcast', e.message);
    }
  }
}
let broadcastQueue = Promise.resolve();
const broadcaster = keep(ldk.BroadcasterInterface.new_impl({
  broadcast_transactions: guarded('broadcaster', undefined, (txs) => {
    const hexes = txs.map(hex);
    broadcastQueue = broadcastQueue.then(() => broadcast(hexes)).catch((e) => log('error', 'broadcast', e.message));
  }),
}));

// ---- persistence: memory, or files under --datadir

const DIR = ARGS.datadir;
if (DIR) fs.mkdirSync(path.join(DIR, 'monitors'), { recursive: true });
function writeFile(name, bytes) {
  const f = path.join(DIR, name);
  fs.writeFileSync(f + '.tmp', bytes);
  fs.renameSync(f + '.tmp', f);
}
const stats = { monitorUpdates: 0, managerWrites: 0, pumps: 0, events: 0, blocks: 0 };
const monitorFile = (outpoint) => `monitors/${txidHex(outpoint.get_txid())}_${outpoint.get_index()}`;
const saveMonitor = (outpoint, monitor) => {
  stats.monitorUpdates++;
  if (DIR) writeFile(monitorFile(outpoint), monitor.write());
  // The bindings hand over a clone of the whole monitor each time, hundreds of KB
  // with many HTLCs: left to the garbage collector they pile up.
  freeNow(monitor, bindings.ChannelMonitor_free);
};
const persister = keep(ldk.Persist.new_impl({
  persist_new_channel: guarded('persist', COMPLETED, (outpoint, monitor) => { saveMonitor(outpoint, monitor); return COMPLETED; }),
  update_persisted_channel: guarded('persist', COMPLETED, (outpoint, update, monitor) => {
    saveMonitor(outpoint, monitor);
    freeNow(update, bindings.ChannelMonitorUpdate_free);
    return COMPLETED;
  }),
  archive_persisted_channel: guarded('persist', undefined, (outpoint) => {
    if (DIR) fs.rmSync(path.join(DIR, monitorFile(outpoint)), { force: true });
  }),
}));

// ---- configuration

function userConfig({ anchors = !ARGS['no-anchors'], announce = false } = {}) {
  const c = ldk.UserConfig.constructor_default();
  const h = c.get_channel_handshake_config();
  h.set_minimum_depth(num('min-depth'));
  h.set_our_to_self_delay(num('to-self-delay'));
  h.set_negotiate_anchors_zero_fee_htlc_tx(anchors);
  h.set_negotiate_scid_privacy(ARGS['scid-privacy'] && !announce);
  h.set_announce_for_forwarding(announce);
  h.set_commit_upfront_shutdown_pubkey(!ARGS['no-upfront-shutdown']);
  h.set_our_max_accepted_htlcs(num('max-accepted-htlcs'));
  h.set_max_inbound_htlc_value_in_flight_percent_of_channel(num('max-in-flight-percent'));
  c.set_channel_handshake_config(h);
  const l = c.get_channel_handshake_limits();
  l.set_force_announced_channel_preference(false);
  l.set_max_funding_satoshis(1000000000n);
  l.set_trust_own_funding_0conf(true);
  c.set_channel_handshake_limits(l);
  const cc = c.get_channel_config();
  cc.set_forwarding_fee_base_msat(num('fee-base-msat'));
  cc.set_forwarding_fee_proportional_millionths(num('fee-ppm'));
  cc.set_cltv_expiry_delta(num('cltv-delta'));
  if (ARGS['max-dust-msat']) cc.set_max_dust_htlc_exposure(ldk.MaxDustHTLCExposure.constructor_fixed_limit_msat(BigInt(ARGS['max-dust-msat'])));
  c.set_channel_config(cc);
  c.set_accept_forwards_to_priv_channels(ARGS['priv-forwards']);
  c.set_accept_inbound_channels(true);
  c.set_manually_accept_inbound_channels(true);   // LDK refuses anchors otherwise
  c.set_accept_intercept_htlcs(false);
  c.set_manually_handle_bolt12_invoices(false);
  return c;
}

// ---------------------------------------------------------------- LDK: build the node

await loadWallet().catch((e) => log('warn', 'wallet', e.message));
const NETWORK = ldk.Network.LDKNetwork_Regtest;
const chainInfo = await rpc('getblockchaininfo');
if (chainInfo.chain !== 'regtest') throw new Error(`this peer is for regtest only, not ${chainInfo.chain}`);
const startTip = { hash: chainInfo.bestblockhash, height: chainInfo.blocks };
startTip.header = await rpc('getblockheader', startTip.hash, false);
const hashBytes = (h) => unhex(h).reverse();
const headerTime = (h) => Buffer.from(h, 'hex').readUInt32LE(68);

const nowMs = Date.now();
const keys = keep(ldk.KeysManager.constructor_new(new Uint8Array(SEED), BigInt(Math.floor(nowMs / 1000)), (nowMs % 1000) * 1e6));
const entropy = keep(keys.as_EntropySource());
const nodeSigner = keep(keys.as_NodeSigner());
const signerProvider = keep(keys.as_SignerProvider());
const outputSpender = keep(keys.as_OutputSpender());

const chainMonitor = keep(ldk.ChainMonitor.constructor_new(ldk.Option_FilterZ.constructor_none(), broadcaster, logger, feeEstimator, persister));
const chainWatch = keep(chainMonitor.as_Watch());
const networkGraph = keep(ldk.NetworkGraph.constructor_new(NETWORK, logger));
const scorer = keep(ldk.ProbabilisticScorer.constructor_new(ldk.ProbabilisticScoringDecayParameters.constructor_default(), networkGraph, logger));
const scoreUpdate = keep(scorer.as_ScoreUpdate());
const lockableScore = keep(ldk.MultiThreadedLockableScore.constructor_new(keep(scorer.as_Score())));
const defaultRouter = keep(ldk.DefaultRouter.constructor_new(networkGraph, logger, entropy, keep(lockableScore.as_LockableScore()), ldk.ProbabilisticScoringFeeParameters.constructor_default()));
const defaultMessageRouter = keep(ldk.DefaultMessageRouter.constructor_new(networkGraph, entropy));

// LDK makes blinded paths only when it or its peers are announced nodes.  A test
// peer with private channels alone would have no offers; fall back to a path of
// one hop with ourselves as introduction node.
const ldkRouter = keep(defaultRouter.as_Router());
const ldkMessageRouter = keep(defaultMessageRouter.as_MessageRouter());
const oneHopMessage = (recipient, context) => {
  const r = ldk.BlindedMessagePath.constructor_one_hop(recipient, context, entropy);
  return r.is_ok() ? ldk.Result_CVec_BlindedMessagePathZNoneZ.constructor_ok([r.res]) : ldk.Result_CVec_BlindedMessagePathZNoneZ.constructor_err();
};
const messagePathsErr = () => ldk.Result_CVec_BlindedMessagePathZNoneZ.constructor_err();
const messageRouter = ARGS['no-blinded-fallback'] ? ldkMessageRouter : keep(ldk.MessageRouter.new_impl({
  find_path: guarded('find_path', () => ldk.Result_OnionMessagePathNoneZ.constructor_err(), (sender, peers, dest) => ldkMessageRouter.find_path(sender, peers, dest)),
  create_blinded_paths: guarded('blinded message paths', messagePathsErr, (recipient, context, peers) => {
    const r = ldkMessageRouter.create_blinded_paths(recipient, context, peers);
    return r.is_ok() && r.res.length ? r : oneHopMessage(recipient, context);
  }),
  create_compact_blinded_paths: guarded('blinded message paths', messagePathsErr, (recipient, context, peers) => {
    const r = ldkMessageRouter.create_compact_blinded_paths(recipient, context, peers);
    return r.is_ok() && r.res.length ? r : oneHopMessage(recipient, context);
  }),
}));
const router = ARGS['no-blinded-fallback'] ? ldkRouter : keep(ldk.Router.new_impl({
  find_route: (payer, params, hops, inflight) => ldkRouter.find_route(payer, params, hops, inflight),
  find_route_with_id: (payer, params, hops, inflight, hash, id) => ldkRouter.find_route_with_id(payer, params, hops, inflight, hash, id),
  create_blinded_payment_paths: guarded('blinded payment paths', () => ldk.Result_CVec_BlindedPaymentPathZNoneZ.constructor_err(), (recipient, hops, tlvs, msat) => {
    const r = ldkRouter.create_blinded_payment_paths(recipient, hops, tlvs, msat);
    if (r.is_ok() && r.res.length) return r;
    const one = ldk.BlindedPaymentPath.constructor_one_hop(recipient, tlvs, 24, entropy);
    return one.is_ok() ? ldk.Result_CVec_BlindedPaymentPathZNoneZ.constructor_ok([one.res]) : ldk.Result_CVec_BlindedPaymentPathZNoneZ.constructor_err();
  }),
}));

// This build of LDK has no clock: its "now" is the highest block time it has seen.
let ldkNow = Math.min(Math.floor(nowMs / 1000), Math.max(headerTime(startTip.header), chainInfo.time ?? 0));
ldkNow = Math.max(ldkNow, headerTime(startTip.header));
if (Math.floor(nowMs / 1000) - ldkNow > 0) ldkNow = Math.floor(nowMs / 1000);

const config = keep(userConfig());
let restored = null;
const chanMan = keep((() => {
  const saved = DIR && fs.existsSync(path.join(DIR, 'manager')) ? fs.readFileSync(path.join(DIR, 'manager')) : null;
  if (!saved) {
    const best = ldk.BestBlock.constructor_new(hashBytes(startTip.hash), startTip.height);
    return ldk.ChannelManager.constructor_new(feeEstimator, chainWatch, broadcaster, router, messageRouter, logger, entropy, nodeSigner, signerProvider,
      config, ldk.ChainParameters.constructor_new(NETWORK, best), ldkNow);
  }
  const monitors = fs.readdirSync(path.join(DIR, 'monitors')).filter((f) => !f.endsWith('.tmp')).map((f) => keep(unwrap(
    ldk.UtilMethods.constructor_C2Tuple_ThirtyTwoBytesChannelMonitorZ_read(new Uint8Array(fs.readFileSync(path.join(DIR, 'monitors', f))), entropy, signerProvider), f).get_b()));
  const pair = keep(unwrap(ldk.UtilMethods.constructor_C2Tuple_ThirtyTwoBytesChannelManagerZ_read(new Uint8Array(saved), entropy, nodeSigner, signerProvider,
    feeEstimator, chainWatch, broadcaster, router, messageRouter, logger, config, monitors), 'manager'));
  const manager = keep(pair.get_b());
  restored = { manager, monitors };
  return manager;
})());
const NODE_ID = chanMan.get_our_node_id();

let utxoLookups = 0;
const utxoLookup = keep(ldk.UtxoLookup.new_impl({
  get_utxo: guarded('utxo', () => ldk.UtxoResult.constructor_sync(ldk.Result_TxOutUtxoLookupErrorZ.constructor_err(ldk.UtxoLookupError.LDKUtxoLookupError_UnknownTx)), (_chain, scid) => {
    utxoLookups++;
    const [block, tx, out] = [Number(scid >> 40n), Number((scid >> 16n) & 0xffffffn), Number(scid & 0xffffn)];
    let result;
    try {
      const txid = rpcSync('getblock', rpcSync('getblockhash', block), 1).tx[tx];
      const o = txid && rpcSync('gettxout', txid, out);
      if (!o) throw new Error(`no unspent output ${block}x${tx}x${out}`);
      result = ldk.Result_TxOutUtxoLookupErrorZ.constructor_ok(ldk.TxOut.constructor_new(toSat(o.value), unhex(o.scriptPubKey.hex)));
    } catch (e) {
      log('info', 'utxo', e.message);
      result = ldk.Result_TxOutUtxoLookupErrorZ.constructor_err(ldk.UtxoLookupError.LDKUtxoLookupError_UnknownTx);
    }
    return ldk.UtxoResult.constructor_sync(result);
  }),
}));
const gossipSync = keep(ldk.P2PGossipSync.constructor_new(networkGraph,
  ARGS['no-utxo-lookup'] ? ldk.Option_UtxoLookupZ.constructor_none() : ldk.Option_UtxoLookupZ.constructor_some(utxoLookup), logger));

const ignorer = keep(ldk.IgnoringMessageHandler.constructor_new());
const onionMessenger = keep(ldk.OnionMessenger.constructor_new(entropy, nodeSigner, logger, keep(chanMan.as_NodeIdLookUp()), messageRouter,
  keep(chanMan.as_OffersMessageHandler()), keep(chanMan.as_AsyncPaymentsMessageHandler()), keep(chanMan.as_DNSResolverMessageHandler()),
  keep(ignorer.as_CustomOnionMessageHandler())));
const onionHandler = keep(onionMessenger.as_OnionMessageHandler());
const peerManager = keep(ldk.PeerManager.constructor_new(keep(chanMan.as_ChannelMessageHandler()), keep(gossipSync.as_RoutingMessageHandler()), onionHandler,
  keep(ignorer.as_CustomMessageHandler()), Math.floor(nowMs / 1000), entropy.get_secure_random_bytes(), logger, nodeSigner));

// ---- coins for anchor channels, from bitcoind's wallet

const SATISFY_P2WPKH = 4n + 1n + 1n + 73n + 1n + 33n;
const walletSource = keep(ldk.WalletSource.new_impl({
  list_confirmed_utxos: guarded('coins', () => ldk.Result_CVec_UtxoZNoneZ.constructor_err(), () => {
    const coins = wrpcSync('listunspent', 1).filter((u) => u.spendable && u.scriptPubKey.startsWith('0014') && u.amount >= 0.0001);
    coins.sort((a, b) => a.amount - b.amount);
    return ldk.Result_CVec_UtxoZNoneZ.constructor_ok(coins.slice(0, 30).map((u) => ldk.Utxo.constructor_new(
      ldk.OutPoint.constructor_new(hashBytes(u.txid), u.vout), ldk.TxOut.constructor_new(toSat(u.amount), unhex(u.scriptPubKey)), SATISFY_P2WPKH)));
  }),
  get_change_script: guarded('change', () => ldk.Result_CVec_u8ZNoneZ.constructor_err(), () =>
    ldk.Result_CVec_u8ZNoneZ.constructor_ok(unhex(wrpcSync('getaddressinfo', wrpcSync('getrawchangeaddress', 'bech32')).scriptPubKey))),
  sign_psbt: guarded('sign', () => ldk.Result_TransactionNoneZ.constructor_err(), (psbt) => {
    // The wallet signs what it knows; the anchor or HTLC input stays empty and
    // LDK fills it.  (PSBT finalising in bitcoind would insist on all inputs.)
    const signed = wrpcSync('signrawtransactionwithwallet', hex(unsignedTxOfPsbt(psbt)));
    return ldk.Result_TransactionNoneZ.constructor_ok(unhex(signed.hex));
  }),
}));
const coinWallet = keep(ldk.Wallet.constructor_new(walletSource, logger));
const bumper = keep(ldk.BumpTransactionEventHandler.constructor_new(broadcaster, keep(coinWallet.as_CoinSelectionSource()), signerProvider, logger));

function unsignedTxOfPsbt(b) {
  if (hex(b.slice(0, 5)) !== '70736274ff') throw new Error('not a PSBT');
  let p = 5;
  const varint = () => {
    const v = b[p++];
    if (v < 0xfd) return v;
    const n = v === 0xfd ? 2 : v === 0xfe ? 4 : 8;
    let r = 0;
    for (let i = n - 1; i >= 0; i--) r = r * 256 + b[p + i];
    p += n;
    return r;
  };
  for (;;) {
    const kl = varint();
    if (kl === 0) throw new Error('PSBT without a transaction');
    const key = b.slice(p, p += kl);
    const vl = varint();
    const value = b.slice(p, p += vl);
    if (kl === 1 && key[0] === 0) return value;
  }
}

// ---------------------------------------------------------------- the network

// NodeLDKNet 0.2.5 never clears its "write waiting" flag: once the kernel's socket
// buffer was full, the connection sends nothing ever again.  It also pauses reading
// whenever LDK does not ask to resume, and gives no way to look at LDK's events
// after something was read.  Same class, own descriptor.
class Net extends NodeLDKNet {
  constructor(pm) { super(pm); this.sockets = new Set(); }
  get_descriptor(socket) {
    const index = this.descriptor_count++;
    const pm = this.peer_manager;
    let waiting = false, gone = false;
    socket.setNoDelay(true);
    this.sockets.add(socket);
    const impl = {
      send_data: guarded('send_data', 0, (data, resumeRead) => {
        if (resumeRead && socket.isPaused()) socket.resume();
        if (gone || waiting || data.length === 0) return 0;
        if (!socket.write(data)) waiting = true;   // Node took it all the same
        return data.length;
      }),
      disconnect_socket: guarded('disconnect_socket', undefined, () => { gone = true; socket.destroy(); }),
      eq: (other) => other.hash() === index,
      hash: () => index,
    };
    const descriptor = ldk.SocketDescriptor.new_impl(impl);
    socket.ldkDescriptor = descriptor;   // lives as long as the socket
    socket.on('drain', () => {
      waiting = false;
      if (gone) return;
      if (!pm.write_buffer_space_avail(descriptor).is_ok()) { gone = true; socket.destroy(); }
    });
    socket.on('data', (data) => {
      if (gone) return;
      const r = pm.read_event(descriptor, data);
      if (!r.is_ok()) { gone = true; socket.destroy(); } else if (r.res) socket.pause();
      schedulePump();
    });
    const closed = () => {
      if (!this.sockets.delete(socket)) return;
      gone = true;
      pm.socket_disconnected(descriptor);   // Rust ignores one it dropped itself
      setTimeout(() => { void descriptor; }, 60000);
      schedulePump();
    };
    socket.on('close', closed);
    socket.on('error', closed);
    return descriptor;
  }
}

const cmEvents = keep(chanMan.as_EventsProvider());
const monEvents = keep(chainMonitor.as_EventsProvider());
const omEvents = keep(onionMessenger.as_EventsProvider());
const cmListen = keep(chanMan.as_Listen());
const monListen = keep(chainMonitor.as_Listen());

// Events are queued and handled after Rust has returned, so a handler may call
// anything.
const eventQueue = [];
const eventHandler = keep(ldk.EventHandler.new_impl({
  handle_event: guarded('handle_event', OK_EVENT, (event) => { eventQueue.push(event); return OK_EVENT; }),
}));

// Conditions somebody waits for: looked at after every pump, since nothing changes without one.
const conditions = new Set();
function until(what, timeoutMs, check) {
  return new Promise((resolve, reject) => {
    const done = (settle, value) => { clearTimeout(timer); conditions.delete(look); settle(value); };
    const timer = setTimeout(() => done(reject, new Error(`${what()} (waited ${timeoutMs} ms)`)), timeoutMs);
    const look = () => {
      try { const value = check(); if (value) done(resolve, value); } catch (e) { done(reject, e); }
    };
    conditions.add(look);
    look();
  });
}

let pumping = false, pumpScheduled = false, dead = false;
function schedulePump() {
  if (pumpScheduled || dead) return;
  pumpScheduled = true;
  setImmediate(() => { pumpScheduled = false; pump(); });
}
function pump() {
  if (pumping || dead) return;
  pumping = true;
  stats.pumps++;
  try {
    for (let i = 0; i < 50; i++) {
      cmEvents.process_pending_events(eventHandler);
      monEvents.process_pending_events(eventHandler);
      omEvents.process_pending_events(eventHandler);
      const batch = eventQueue.splice(0);
      for (const e of batch) {
        stats.events++;
        try { onEvent(e); } catch (err) { log('error', 'event', err.stack ?? err); }
      }
      peerManager.process_events();
      if (!batch.length) break;
    }
    if (chanMan.get_and_clear_needs_persistence() && DIR) { stats.managerWrites++; writeFile('manager', chanMan.write()); }
  } finally { pumping = false; }
  for (const look of [...conditions]) look();
}

// ---------------------------------------------------------------- events

const state = {
  accept: true, zeroconf: ARGS.zeroconf, hold: false, reconnect: new Map(), announce: true,
};
const payments = new Map();       // payment id (hex) -> what is known
const received = new Map();       // payment hash (hex) -> what is known
const channelsInfo = new Map();   // channel id (hex) -> history
const temporaries = new Map();    // temporary channel id (hex) -> waiting open_channel
const spendables = [];            // {descriptor, outpoint, sats, kind, channel, status, txid}
const chanRec = (id) => { if (!channelsInfo.has(id)) channelsInfo.set(id, { channel_id: id }); return channelsInfo.get(id); };
const outpointText = (o) => (o && CommonBase.get_ptr_of(o) !== 0n ? `${txidHex(o.get_txid())}:${o.get_index()}` : null);
const channelIdHex = (c) => (c && CommonBase.get_ptr_of(c) !== 0n ? hex(c.get_a()) : null);
const pathText = (p) => p.get_hops().map((h) => ({ node: hex(h.get_pubkey()), scid: scidText(h.get_short_channel_id()), fee_msat: h.get_fee_msat(), cltv: h.get_cltv_expiry_delta() }));
function channelTypeNames(t) {
  if (!t || CommonBase.get_ptr_of(t) === 0n) return null;
  return featureNamesLE(t.le_flags());
}

function onEvent(e) {
  if (e instanceof ldk.Event_FundingGenerationReady) {
    const temp = channelIdHex(e.temporary_channel_id);
    note('FundingGenerationReady', { temporary_channel_id: temp, peer: hex(e.counterparty_node_id), sats: e.channel_value_satoshis, script: hex(e.output_script) });
    fundChannel(e).catch((err) => {
      note('FundingFailed', { temporary_channel_id: temp, error: err.message });
      try {
        chanMan.force_close_without_broadcasting_txn(e.temporary_channel_id, e.counterparty_node_id, 'funding failed');
      } catch (x) { log('warn', 'fund', x.message); }
      settleOpen(temp, null, err);
      schedulePump();
    });
  } else if (e instanceof ldk.Event_OpenChannelRequest) {
    onOpenRequest(e);
  } else if (e instanceof ldk.Event_ChannelPending) {
    const id = channelIdHex(e.channel_id), temp = channelIdHex(e.former_temporary_channel_id);
    const info = { channel_id: id, temporary_channel_id: temp, peer: hex(e.counterparty_node_id), funding: outpointText(e.funding_txo), channel_type: channelTypeNames(e.channel_type) };
    Object.assign(chanRec(id), info, { state: 'pending' });
    note('ChannelPending', info);
    settleOpen(temp, info);
  } else if (e instanceof ldk.Event_ChannelReady) {
    const id = channelIdHex(e.channel_id);
    Object.assign(chanRec(id), { state: 'ready', peer: hex(e.counterparty_node_id) });
    announcements = 0;
    note('ChannelReady', { channel_id: id, peer: hex(e.counterparty_node_id), channel_type: channelTypeNames(e.channel_type) });
  } else if (e instanceof ldk.Event_ChannelClosed) {
    const id = channelIdHex(e.channel_id);
    const info = { channel_id: id, peer: hex(e.counterparty_node_id), reason: e.reason.constructor.name.replace('ClosureReason_', ''), text: e.reason.to_str(),
      funding: outpointText(e.channel_funding_txo), capacity_sats: opt(e.channel_capacity_sats), last_local_balance_msat: opt(e.last_local_balance_msat) };
    Object.assign(chanRec(id), info, { state: 'closed' });
    note('ChannelClosed', info);
    settleOpen(id, null, new Error(`channel closed: ${info.text}`));
  } else if (e instanceof ldk.Event_DiscardFunding) {
    note('DiscardFunding', { channel_id: channelIdHex(e.channel_id) });
  } else if (e instanceof ldk.Event_PaymentClaimable) {
    onClaimable(e);
  } else if (e instanceof ldk.Event_PaymentClaimed) {
    const h = hex(e.payment_hash);
    const r = received.get(h) ?? {};
    received.set(h, { ...r, payment_hash: h, amount_msat: e.amount_msat, status: 'claimed', purpose: e.purpose.constructor.name.replace('PaymentPurpose_', '') });
    note('PaymentClaimed', { payment_hash: h, amount_msat: e.amount_msat, htlcs: e.htlcs.length, purpose: e.purpose.constructor.name.replace('PaymentPurpose_', '') });
  } else if (e instanceof ldk.Event_PaymentSent) {
    const id = hex(opt(e.payment_id)) ?? hex(e.payment_hash);
    const p = payments.get(id) ?? {};
    settlePayment(id, { ...p, payment_hash: hex(e.payment_hash), preimage: hex(e.payment_preimage), fee_msat: opt(e.fee_paid_msat), status: 'sent' });
    note('PaymentSent', { payment_id: id, payment_hash: hex(e.payment_hash), preimage: hex(e.payment_preimage), fee_msat: opt(e.fee_paid_msat) });
  } else if (e instanceof ldk.Event_PaymentFailed) {
    const id = hex(e.payment_id);
    const reason = enumName(ldk.PaymentFailureReason, opt(e.reason), 'LDKPaymentFailureReason_');
    settlePayment(id, { ...(payments.get(id) ?? {}), status: 'failed', reason });
    note('PaymentFailed', { payment_id: id, payment_hash: hex(opt(e.payment_hash)), reason });
  } else if (e instanceof ldk.Event_PaymentPathSuccessful) {
    const p = payments.get(hex(e.payment_id));
    if (p) p.path = pathText(e.path);
    scoreUpdate.payment_path_successful(e.path, BigInt(Math.floor(Date.now() / 1000)));
    if (logLevel() <= 2) note('PaymentPathSuccessful', { payment_id: hex(e.payment_id), path: pathText(e.path) });
  } else if (e instanceof ldk.Event_PaymentPathFailed) {
    const scid = opt(e.short_channel_id);
    const failure = e.failure.constructor.name.replace('PathFailure_', '') + (e.failure.err ? ' ' + errText(e.failure.err) : '');
    if (scid != null) scoreUpdate.payment_path_failed(e.path, scid, BigInt(Math.floor(Date.now() / 1000)));
    const p = payments.get(hex(opt(e.payment_id)));
    if (p) (p.failures ??= []).push({ failure, scid: scidText(scid), permanent: !!e.payment_failed_permanently });
    note('PaymentPathFailed', { payment_id: hex(opt(e.payment_id)), payment_hash: hex(e.payment_hash), failure, scid: scidText(scid), permanent: !!e.payment_failed_permanently, path: pathText(e.path) });
  } else if (e instanceof ldk.Event_PendingHTLCsForwardable) {
    scheduleForward();
  } else if (e instanceof ldk.Event_PaymentForwarded) {
    note('PaymentForwarded', { prev: channelIdHex(e.prev_channel_id), next: channelIdHex(e.next_channel_id), fee_msat: opt(e.total_fee_earned_msat), out_msat: opt(e.outbound_amount_forwarded_msat), onchain: !!e.claim_from_onchain_tx });
  } else if (e instanceof ldk.Event_HTLCHandlingFailed) {
    note('HTLCHandlingFailed', { prev: channelIdHex(e.prev_channel_id), destination: e.failed_next_destination.constructor.name.replace('HTLCDestination_', '') });
  } else if (e instanceof ldk.Event_SpendableOutputs) {
    const channel = channelIdHex(e.channel_id);
    const outs = e.outputs.map((d) => {
      const o = d.spendable_outpoint();
      return { descriptor: keep(d.clone()), outpoint: outpointText(o), kind: d.constructor.name.replace('SpendableOutputDescriptor_', ''), channel, status: 'found' };
    });
    spendables.push(...outs);
    note('SpendableOutputs', { channel, outputs: outs.map(({ outpoint, kind }) => ({ outpoint, kind })) });
    sweep().catch((err) => log('warn', 'sweep', err.message));
  } else if (e instanceof ldk.Event_BumpTransaction) {
    const b = e.bump_transaction;
    note('BumpTransaction', { kind: b.constructor.name.replace('BumpTransactionEvent_', ''), channel: channelIdHex(b.channel_id),
      feerate: b.package_target_feerate_sat_per_1000_weight ?? b.target_feerate_sat_per_1000_weight, htlcs: b.htlc_descriptors?.length });
    bumper.handle_event(b);
  } else if (e instanceof ldk.Event_ConnectionNeeded) {
    const addresses = e.addresses.map((a) => a.to_str());
    note('ConnectionNeeded', { node: hex(e.node_id), addresses });
    const v4 = e.addresses.find((a) => a instanceof ldk.SocketAddress_TcpIpV4);
    if (v4 && v4.addr[0] === 127) connectPeer(hex(e.node_id), Array.from(v4.addr).join('.'), v4.port, 5000).catch((err) => log('info', 'connect', err.message));
  } else if (e instanceof ldk.Event_InvoiceReceived) {
    note('InvoiceReceived', { payment_id: hex(e.payment_id) });
  } else {
    note(e.constructor.name.replace('Event_', ''), {});
  }
}

let forwardTimer = null;
function scheduleForward() {
  if (forwardTimer) return;
  forwardTimer = setTimeout(() => {
    forwardTimer = null;
    chanMan.process_pending_htlc_forwards();
    pump();
  }, num('forward-delay-ms'));
}

function onOpenRequest(e) {
  const info = { temporary_channel_id: channelIdHex(e.temporary_channel_id), peer: hex(e.counterparty_node_id), sats: e.funding_satoshis,
    push_msat: e.channel_negotiation_type instanceof ldk.InboundChannelFunds_PushMsat ? e.channel_negotiation_type.push_msat : null,
    dual_funded: e.channel_negotiation_type instanceof ldk.InboundChannelFunds_DualFunded, channel_type: channelTypeNames(e.channel_type), announced: !!e.is_announced };
  note('OpenChannelRequest', info);
  const userId = BigInt('0x' + crypto.randomBytes(8).toString('hex'));
  let r;
  if (!state.accept) r = chanMan.force_close_without_broadcasting_txn(e.temporary_channel_id, e.counterparty_node_id, 'not accepting channels');
  else if (state.zeroconf) r = chanMan.accept_inbound_channel_from_trusted_peer_0conf(e.temporary_channel_id, e.counterparty_node_id, userId);
  else r = chanMan.accept_inbound_channel(e.temporary_channel_id, e.counterparty_node_id, userId);
  if (!r.is_ok()) note('AcceptFailed', { ...info, error: errText(r.err) });
}

function onClaimable(e) {
  const h = hex(e.payment_hash);
  const preimage = opt(e.purpose.preimage());
  const info = { payment_hash: h, amount_msat: e.amount_msat, purpose: e.purpose.constructor.name.replace('PaymentPurpose_', ''),
    tlvs: e.onion_fields.custom_tlvs().map((t) => [Number(t.get_a()), hex(t.get_b())]), metadata: hex(opt(e.onion_fields.get_payment_metadata())), claim_deadline: opt(e.claim_deadline) };
  const r = { ...(received.get(h) ?? {}), ...info, status: 'claimable' };
  Object.defineProperty(r, 'preimageBytes', { value: preimage, enumerable: false });
  received.set(h, r);
  const hold = state.hold || r.hold || !preimage;
  note('PaymentClaimable', { ...info, held: hold });
  if (!hold) chanMan.claim_funds(preimage);
}

// ---- outgoing payments

const paymentWaiters = new Map();
function settlePayment(id, rec) {
  rec.done = Date.now();
  payments.set(id, rec);
  const w = paymentWaiters.get(id);
  if (w) { paymentWaiters.delete(id); for (const f of w) f(rec); }
}
function awaitPayment(id, timeoutMs) {
  const p = payments.get(id);
  if (p?.done) return Promise.resolve(p);
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ ...payments.get(id), status: 'pending', timed_out: true }), timeoutMs);
    const list = paymentWaiters.get(id) ?? [];
    list.push((rec) => { clearTimeout(timer); resolve(rec); });
    paymentWaiters.set(id, list);
  });
}
function startPayment(id, rec, send) {
  payments.set(id, { payment_id: id, started: Date.now(), status: 'pending', ...rec });
  try { send(); } catch (e) { settlePayment(id, { ...payments.get(id), status: 'failed', reason: e.message }); }
  schedulePump();
}

// ---- funding

const openWaiters = new Map();
function settleOpen(temp, info, err) {
  const w = openWaiters.get(temp);
  if (!w) return;
  openWaiters.delete(temp);
  if (err) w.reject(err); else w.resolve(info);
}
let fundingLock = Promise.resolve();
async function fundChannel(e) {
  const release = fundingLock;
  let done;
  fundingLock = new Promise((r) => { done = r; });
  await release;
  try {
    const { address } = await rpc('decodescript', hex(e.output_script));
    const raw = await rpc('createrawtransaction', [], [{ [address]: btc(e.channel_value_satoshis) }]);
    const funded = await wrpc('fundrawtransaction', raw, { lockUnspents: true, fee_rate: state.fundingFeeRate ?? 5 });
    const signed = await wrpc('signrawtransactionwithwallet', funded.hex);
    if (!signed.complete) throw new Error('bitcoind could not sign the funding transaction');
    const r = chanMan.funding_transaction_generated(e.temporary_channel_id, e.counterparty_node_id, unhex(signed.hex));
    if (!r.is_ok()) throw new Error(errText(r.err));
    schedulePump();
  } finally { done(); }
}

// ---- sweeping what closed channels left

async function sweep() {
  const due = spendables.filter((s) => s.status === 'found');
  if (!due.length) return [];
  const script = await walletScript();
  const txids = [];
  for (const s of due) {
    if (s.status !== 'found') continue;
    s.status = 'sweeping';
    const r = outputSpender.spend_spendable_outputs([s.descriptor], [], script, FEES.OutputSpendingFee, none.u32());
    if (!r.is_ok()) { s.status = 'unspendable'; note('SweepFailed', { outpoint: s.outpoint, kind: s.kind }); continue; }
    try {
      s.txid = await rpc('sendrawtransaction', hex(r.res), 0);
      s.status = 'swept';
      txids.push(s.txid);
      note('Swept', { outpoint: s.outpoint, kind: s.kind, channel: s.channel, txid: s.txid });
    } catch (err) {
      const spent = /already|missingorspent/.test(err.message);
      s.status = spent && s.tries > 3 ? 'gone' : 'found';
      s.tries = (s.tries ?? 0) + 1;
      note('SweepFailed', { outpoint: s.outpoint, kind: s.kind, error: err.message });
    }
  }
  return txids;
}

// ---------------------------------------------------------------- the chain

const chain = { tip: startTip, byHeight: new Map([[startTip.height, startTip]]) };
async function fetchMany(list, fn, width = 12) {
  const out = new Array(list.length);
  let next = 0;
  await Promise.all(Array.from({ length: Math.min(width, list.length) }, async () => {
    while (next < list.length) { const i = next++; out[i] = await fn(list[i]); }
  }));
  return out;
}
let syncing = null;
function syncChain() {
  syncing ??= doSync().finally(() => { syncing = null; });
  return syncing;
}
async function doSync() {
  const best = await rpc('getbestblockhash');
  if (best === chain.tip.hash) return false;
  // the last block we have in common
  const info = await rpc('getblockheader', best);
  let fork = Math.min(chain.tip.height, info.height);
  for (; fork >= 0; fork--) {
    const mine = chain.byHeight.get(fork);
    if (!mine) throw new Error(`reorganisation below our first block (${fork})`);
    if (mine.hash === await rpc('getblockhash', fork)) break;
  }
  for (let h = chain.tip.height; h > fork; h--) {
    const b = chain.byHeight.get(h);
    log('info', 'chain', `disconnect ${h} ${b.hash}`);
    monListen.block_disconnected(unhex(b.header), h);
    cmListen.block_disconnected(unhex(b.header), h);
    chain.byHeight.delete(h);
    chain.tip = chain.byHeight.get(h - 1);
    if (!chain.tip) throw new Error('ran out of known blocks');
    note('BlockDisconnected', { height: h, hash: b.hash });
  }
  for (let from = fork + 1; from <= info.height; from += 200) {
    const heights = Array.from({ length: Math.min(200, info.height - from + 1) }, (_, i) => from + i);
    const blocks = await fetchMany(heights, async (h) => {
      const hash = await rpc('getblockhash', h);
      return { hash, height: h, raw: await rpc('getblock', hash, 0) };
    });
    for (const b of blocks) {
      const bytes = unhex(b.raw);
      if (hex(Uint8Array.from(bytes.slice(4, 36)).reverse()) !== chain.tip.hash) return true;   // reorganised under us: next poll
      b.header = b.raw.slice(0, 160);
      delete b.raw;
      monListen.block_connected(bytes, b.height);
      cmListen.block_connected(bytes, b.height);
      chain.tip = b;
      chain.byHeight.set(b.height, b);
      ldkNow = Math.max(ldkNow, headerTime(b.header));
      stats.blocks++;
    }
    pump();
  }
  log('info', 'chain', `tip ${chain.tip.height} ${chain.tip.hash}`);
  await sweep().catch((e) => log('warn', 'sweep', e.message));
  return true;
}

// After a restart the manager and each monitor may stand at different blocks.
// Confirm (unlike Listen) lets a block be told more than once and in any order.
async function catchUp() {
  const { manager, monitors } = restored;
  for (const m of monitors) {
    const o = m.get_funding_txo().get_a();
    const r = chainWatch.watch_channel(o, m);
    if (!r.is_ok()) throw new Error(`watch_channel ${outpointText(o)}`);
  }
  const heights = [manager.current_best_block().get_height(), ...monitors.map((m) => m.current_best_block().get_height())];
  const parties = [chainMonitor.as_Confirm(), manager.as_Confirm()].map(keep);
  for (const p of parties) {
    for (const t of p.get_relevant_txids()) {
      const [txid, height, hash] = [t.get_a(), t.get_b(), opt(t.get_c())];
      if (hash && await rpc('getblockhash', height).catch(() => null) !== txidHex(hash)) p.transaction_unconfirmed(txid);
    }
  }
  const from = Math.max(0, Math.min(...heights) - 6);
  for (let h = from; h <= startTip.height; h++) {
    const b = await rpc('getblock', await rpc('getblockhash', h), 2);
    const header = await rpc('getblockheader', b.hash, false);
    const txs = b.tx.map((t, i) => ldk.TwoTuple_usizeTransactionZ.constructor_new(i, unhex(t.hex)));
    for (const p of parties) p.transactions_confirmed(unhex(header), txs, h);
    ldkNow = Math.max(ldkNow, headerTime(header));
  }
  for (const p of parties) p.best_block_updated(unhex(startTip.header), startTip.height);
  log('info', 'chain', `restored ${monitors.length} monitors; blocks ${from}..${startTip.height}`);
}

// ---------------------------------------------------------------- peers

async function connectPeer(pubkey, host, port, timeoutMs = 10000) {
  if (!/^(127\.|localhost$|::1$)/.test(host)) throw new Error('only loopback addresses');
  const id = unhex(pubkey, 33);
  if (peerInfo(pubkey)) return { pubkey, already: true };
  await ldkNet.connect_peer(host === 'localhost' ? '127.0.0.1' : host, port, id).catch(() => { throw new Error(`cannot reach ${host}:${port}`); });
  schedulePump();
  await until(() => `no Lightning handshake with ${pubkey} at ${host}:${port}`, timeoutMs, () => peerInfo(pubkey));
  return { pubkey, connected: true, ...peerInfo(pubkey) };
}
function peerRow(p) {
  const f = p.get_init_features().le_flags();
  return { pubkey: hex(p.get_counterparty_node_id()), inbound: !!p.get_is_inbound_connection(), address: opt(p.get_socket_address())?.to_str() ?? null,
    features_hex: hex(Uint8Array.from(f).reverse()), features: featureNamesLE(f) };
}
const listPeers = () => peerManager.list_peers().map(peerRow);
const peerInfo = (pubkey) => listPeers().find((p) => p.pubkey === pubkey) ?? null;

// A node announcement is dropped by whoever has not yet seen a channel of ours, so
// it is said again for a while after each new public channel.
let announcedAt = 0, announcements = 0;
function maybeAnnounce(force = false) {
  if (!force && (!state.announce || Date.now() - announcedAt < (announcements < 20 ? 2500 : 60000))) return false;
  const ready = chanMan.list_channels().some((c) => c.get_is_announced() && c.get_is_channel_ready() && (opt(c.get_confirmations()) ?? 0) >= 6);
  if (!ready && !force) return false;
  announcedAt = Date.now();
  announcements++;
  const alias = new Uint8Array(32);
  alias.set(new TextEncoder().encode(ALIAS).slice(0, 32));
  peerManager.broadcast_node_announcement(crypto.createHash('sha256').update(NODE_ID).digest().subarray(0, 3), alias,
    [ldk.SocketAddress.constructor_tcp_ip_v4(new Uint8Array([127, 0, 0, 1]), lnPort)]);
  schedulePump();
  return true;
}

// ---------------------------------------------------------------- channels

function channelRow(c) {
  const cp = c.get_counterparty();
  const txo = c.get_funding_txo();
  const fwd = cp.get_forwarding_info();
  return {
    channel_id: channelIdHex(c.get_channel_id()), peer: hex(cp.get_node_id()), funding: outpointText(txo), scid: scidText(opt(c.get_short_channel_id())),
    outbound_scid_alias: scidText(opt(c.get_outbound_scid_alias())), inbound_scid_alias: scidText(opt(c.get_inbound_scid_alias())),
    capacity_sats: c.get_channel_value_satoshis(), outbound_msat: c.get_outbound_capacity_msat(), inbound_msat: c.get_inbound_capacity_msat(),
    next_outbound_htlc_limit_msat: c.get_next_outbound_htlc_limit_msat(), reserve_sats: opt(c.get_unspendable_punishment_reserve()),
    their_reserve_sats: cp.get_unspendable_punishment_reserve(), feerate_per_kw: opt(c.get_feerate_sat_per_1000_weight()),
    confirmations: opt(c.get_confirmations()), confirmations_required: opt(c.get_confirmations_required()), to_self_delay: opt(c.get_force_close_spend_delay()),
    outbound: !!c.get_is_outbound(), ready: !!c.get_is_channel_ready(), usable: !!c.get_is_usable(), announced: !!c.get_is_announced(),
    shutdown: enumName(ldk.ChannelShutdownState, opt(c.get_channel_shutdown_state()), 'LDKChannelShutdownState_'), channel_type: channelTypeNames(c.get_channel_type()),
    htlcs_in: c.get_pending_inbound_htlcs().length, htlcs_out: c.get_pending_outbound_htlcs().length,
    peer_forwarding: fwd && CommonBase.get_ptr_of(fwd) !== 0n ? { base_msat: fwd.get_fee_base_msat(), ppm: fwd.get_fee_proportional_millionths(), cltv: fwd.get_cltv_expiry_delta() } : null,
  };
}
function findChannel(id) {
  const c = chanMan.list_channels().find((x) => channelIdHex(x.get_channel_id()) === id || scidText(opt(x.get_short_channel_id())) === id);
  if (!c) throw new Error(`no channel ${id}`);
  return c;
}

// ---------------------------------------------------------------- control commands

const needMsat = (v, what) => {
  if (v == null || !/^\d+$/.test(String(v))) throw new Error(`${what} must be a whole number of millisatoshi`);
  return BigInt(v);
};
function routeLimits(route, p) {
  if (p.max_fee_msat != null) route.set_max_total_routing_fee_msat(optU64(p.max_fee_msat));
}
// Invoices are dated by LDK's clock (the best block); stretch the expiry so that
// they run out when asked by the wall clock.
const expirySecs = (s) => Math.floor((s ?? 3600) + Math.max(0, Date.now() / 1000 - ldkNow));

const COMMANDS = {
  getinfo() {
    const b = chanMan.current_best_block();
    const mem = process.memoryUsage();
    return {
      node_id: hex(NODE_ID), name: NAME, alias: ALIAS, network: 'regtest', version: 'LDK (lightningdevkit npm 0.1.2-0)', height: b.get_height(), block_hash: txidHex(b.get_block_hash()),
      ln_host: '127.0.0.1', ln_port: lnPort, ctl_port: ctlPort, uri: `${hex(NODE_ID)}@127.0.0.1:${lnPort}`, wallet: RPC.wallet,
      peers: peerManager.list_peers().length, channels: chanMan.list_channels().length, usable_channels: chanMan.list_usable_channels().length,
      init_features: featuresOf(initFeatures()), node_features: featuresOf(chanMan.node_features()), ldk_time: ldkNow, pid: process.pid,
      rss_mb: Math.round(mem.rss / 1048576), heap_mb: Math.round(mem.heapUsed / 1048576), wasm_mb: Math.round(wasmMemory.buffer.byteLength / 1048576), uptime_ms: Date.now() - T_START, start_ms: startMs,
      events_seen: eventSeq, stats: { ...stats, utxoLookups },
    };
  },
  async connect(p) {
    const r = await connectPeer(p.pubkey, p.host ?? '127.0.0.1', Number(p.port), p.timeout_ms);
    if (p.keep) state.reconnect.set(p.pubkey, { host: p.host ?? '127.0.0.1', port: Number(p.port) });
    return r;
  },
  disconnect(p) {
    state.reconnect.delete(p.pubkey);
    peerManager.disconnect_by_node_id(unhex(p.pubkey, 33));
    pump();
    return { ok: true };
  },
  list_peers: () => listPeers(),
  set(p) {   // accept, zeroconf, hold, announce, log_level, fees, fundingFeeRate
    for (const k of ['accept', 'zeroconf', 'hold', 'announce', 'fundingFeeRate']) if (p[k] !== undefined) state[k] = p[k];
    if (p.log_level) setLogLevel(p.log_level);
    if (p.fees) for (const [k, v] of Object.entries(p.fees)) { if (!(k in FEES)) throw new Error(`no fee target ${k}; there are ${Object.keys(FEES)}`); FEES[k] = Number(v); }
    return { accept: state.accept, zeroconf: state.zeroconf, hold: state.hold, announce: state.announce, fees: FEES };
  },
  async newaddress(p) { return wrpc('getnewaddress', '', p.type ?? 'bech32'); },
  async walletbalance() { return wrpc('getbalances'); },

  async open_channel(p) {
    const timeout = p.timeout_ms ?? 30000;
    const conf = userConfig({ anchors: p.anchors ?? !ARGS['no-anchors'], announce: p.public ?? false });
    const userId = BigInt('0x' + crypto.randomBytes(8).toString('hex'));
    const r = chanMan.create_channel(unhex(p.pubkey, 33), BigInt(p.sats), BigInt(p.push_msat ?? 0), userId, null, conf);
    const temp = channelIdHex(unwrap(r, 'create_channel'));
    const done = new Promise((resolve, reject) => {
      const timer = setTimeout(() => { openWaiters.delete(temp); reject(new Error('timed out opening the channel')); }, timeout);
      openWaiters.set(temp, { resolve: (v) => { clearTimeout(timer); resolve(v); }, reject: (v) => { clearTimeout(timer); reject(v); } });
    });
    pump();
    return done;
  },
  list_channels(p) {
    let rows = chanMan.list_channels().map(channelRow);
    if (p.pubkey) rows = rows.filter((r) => r.peer === p.pubkey);
    return rows;
  },
  channel_history: () => [...channelsInfo.values()],
  // until usable, or until its row in list_channels says what `match` says
  async wait_channel(p) {
    const wanted = Object.entries(p.match ?? { usable: true });
    const row = () => chanMan.list_channels().map(channelRow).find((r) => r.channel_id === p.channel_id);
    return until(() => `channel not so in time: ${toJSON(row() ?? null)}`, p.timeout_ms ?? 30000, () => {
      const c = row();
      if (!c && channelsInfo.get(p.channel_id)?.state === 'closed') throw new Error(`channel closed: ${channelsInfo.get(p.channel_id).text}`);
      return c && wanted.every(([k, v]) => String(c[k]) === String(v)) && c;
    });
  },
  // until the peer is connected (or, with gone, is not)
  async wait_peer(p) {
    await until(() => `peer ${p.pubkey} ${p.gone ? 'still' : 'not'} connected`, p.timeout_ms ?? 30000, () => Boolean(peerInfo(p.pubkey)) !== Boolean(p.gone));
    return peerInfo(p.pubkey);
  },
  // until the graph has so many channels with both policies known
  async wait_graph(p) {
    const count = () => {
      const g = networkGraph.read_only();
      try {
        const known = (u) => u && CommonBase.get_ptr_of(u) !== 0n;
        return [...g.list_channels()].filter((s) => { const c = g.channel(s); return known(c.get_one_to_two()) && known(c.get_two_to_one()); }).length;
      } finally { g.free(); }
    };
    return until(() => `graph has ${count()} channels, not ${p.channels}`, p.timeout_ms ?? 60000, () => count() >= p.channels && { channels: count() });
  },
  set_channel_fees(p) {
    const c = findChannel(p.channel_id);
    const u = ldk.ChannelConfigUpdate.constructor_new(optU32(p.ppm), optU32(p.base_msat), optU16(p.cltv), ldk.Option_MaxDustHTLCExposureZ.constructor_none(), none.u64());
    const r = chanMan.update_partial_channel_config(c.get_counterparty().get_node_id(), [c.get_channel_id()], u);
    if (!r.is_ok()) throw new Error(errText(r.err));
    schedulePump();
    return { ok: true };
  },
  async close(p) {
    const c = findChannel(p.channel_id);
    const id = c.get_channel_id(), peer = c.get_counterparty().get_node_id(), idHex = channelIdHex(id);
    const since = eventSeq;
    let r;
    if (p.force) r = chanMan.force_close_broadcasting_latest_txn(id, peer, p.message ?? 'force close asked for');
    else if (p.feerate_per_kw || p.script) {
      const script = p.script ? shutdownScript(unhex(p.script)) : null;
      r = chanMan.close_channel_with_feerate_and_script(id, peer, optU32(p.feerate_per_kw), script);
    } else r = chanMan.close_channel(id, peer);
    if (!r.is_ok()) throw new Error(errText(r.err));
    pump();
    if (p.wait === false) return { channel_id: idHex, started: true };
    const e = await waitEvent((x) => x.type === 'ChannelClosed' && x.channel_id === idHex, p.timeout_ms ?? 15000, since);
    await broadcastQueue;
    return e;
  },

  invoice(p) {
    let desc;
    if (p.description_hash) desc = ldk.Bolt11InvoiceDescription.constructor_hash(ldk.Sha256.constructor_from_bytes(unhex(p.description_hash, 32)));
    else desc = ldk.Bolt11InvoiceDescription.constructor_direct(unwrap(ldk.Description.constructor_new(p.description ?? ''), 'description'));
    const hash = p.payment_hash ? unhex(p.payment_hash, 32) : null;
    const r = chanMan.create_bolt11_invoice(optU64(p.amount_msat), desc, optU32(expirySecs(p.expiry)), optU16(p.min_final_cltv), optB32(hash));
    const inv = unwrap(r, 'invoice');
    const h = hex(inv.payment_hash());
    received.set(h, { payment_hash: h, bolt11: inv.to_str(), asked_msat: p.amount_msat ?? null, status: 'open', hold: p.hold ?? false });
    return { bolt11: inv.to_str(), payment_hash: h, payment_secret: hex(inv.payment_secret()), timestamp: inv.duration_since_epoch() };
  },
  decode(p) {
    if (p.offer) {
      const o = unwrap(ldk.Offer.constructor_from_str(p.offer), 'offer');
      const a = opt(o.amount());
      const d = o.description();
      return { offer_id: hex(o.id().get_a?.()), amount_msat: a?.amount_msats ?? null, description: d && CommonBase.get_ptr_of(d) !== 0n ? d.get_a() : null, paths: o.paths().length, issuer_signing_pubkey: hex(o.issuer_signing_pubkey()) };
    }
    const inv = unwrap(ldk.Bolt11Invoice.constructor_from_str(p.bolt11), 'bolt11');
    return { payment_hash: hex(inv.payment_hash()), payee: hex(inv.get_payee_pub_key()), amount_msat: opt(inv.amount_milli_satoshis()), expiry: inv.expiry_time(), timestamp: inv.duration_since_epoch(),
      min_final_cltv: inv.min_final_cltv_expiry_delta(), features: featureNamesLE(inv.features().le_flags()), route_hints: inv.route_hints().map((h) => h.get_a().map((x) => ({ node: hex(x.get_src_node_id()), scid: scidText(x.get_short_channel_id()), base_msat: x.get_fees().get_base_msat(), ppm: x.get_fees().get_proportional_millionths(), cltv: x.get_cltv_expiry_delta() }))) };
  },
  async pay(p) {
    const inv = unwrap(ldk.Bolt11Invoice.constructor_from_str(p.bolt11), 'bolt11');
    const amountIn = opt(inv.amount_milli_satoshis());
    const r = amountIn == null ? ldk.UtilMethods.constructor_payment_parameters_from_variable_amount_invoice(inv, needMsat(p.amount_msat, 'amount_msat'))
      : ldk.UtilMethods.constructor_payment_parameters_from_invoice(inv);
    if (!r.is_ok()) throw new Error('the invoice gives no payment parameters (an amount too many or too few?)');
    const [hash, onion, route] = [r.res.get_a(), r.res.get_b(), r.res.get_c()];
    routeLimits(route, p);
    const id = hex(hash);
    if (payments.get(id)?.status === 'sent') throw new Error('this invoice is paid already');
    startPayment(id, { payment_hash: id, amount_msat: amountIn ?? BigInt(p.amount_msat), kind: 'bolt11' }, () => {
      const s = chanMan.send_payment(hash, onion, hash, route, ldk.Retry.constructor_attempts(p.retries ?? 5));
      if (!s.is_ok()) throw new Error(enumName(ldk.RetryableSendFailure, s.err, 'LDKRetryableSendFailure_'));
    });
    return p.wait === false ? payments.get(id) : awaitPayment(id, p.timeout_ms ?? 60000);
  },
  async keysend(p) {
    const preimage = p.preimage ? unhex(p.preimage, 32) : new Uint8Array(crypto.randomBytes(32));
    const hash = crypto.createHash('sha256').update(preimage).digest();
    const id = hex(hash);
    let onion = ldk.RecipientOnionFields.constructor_spontaneous_empty();
    if (p.tlvs) onion = unwrap(onion.with_custom_tlvs(p.tlvs.map(([t, v]) => ldk.TwoTuple_u64CVec_u8ZZ.constructor_new(BigInt(t), unhex(v)))), 'tlvs');
    const params = ldk.PaymentParameters.constructor_for_keysend(unhex(p.pubkey, 33), p.final_cltv ?? 24, false);
    const route = ldk.RouteParameters.constructor_from_payment_params_and_value(params, needMsat(p.amount_msat, 'amount_msat'));
    routeLimits(route, p);
    startPayment(id, { payment_hash: id, amount_msat: p.amount_msat, kind: 'keysend' }, () => {
      const s = chanMan.send_spontaneous_payment(optB32(preimage), onion, new Uint8Array(hash), route, ldk.Retry.constructor_attempts(p.retries ?? 5));
      if (!s.is_ok()) throw new Error(enumName(ldk.RetryableSendFailure, s.err, 'LDKRetryableSendFailure_'));
    });
    return p.wait === false ? payments.get(id) : awaitPayment(id, p.timeout_ms ?? 60000);
  },
  create_offer(p) {
    const o = p.builder === 'ldk' ? unwrapBolt12(unwrapBolt12(chanMan.create_offer_builder(optU64(p.absolute_expiry)), 'offer').build(), 'offer') : makeOffer(p, { entropy, peerManager, messageRouter, networkGraph, nodeId: NODE_ID });
    return { offer: o.to_str(), paths: o.paths().length, issuer_signing_pubkey: hex(o.issuer_signing_pubkey()) };
  },
  async pay_offer(p) {
    const o = unwrap(ldk.Offer.constructor_from_str(p.offer), 'offer');
    const idBytes = new Uint8Array(crypto.randomBytes(32));
    const id = hex(idBytes);
    startPayment(id, { kind: 'bolt12', amount_msat: p.amount_msat ?? opt(o.amount())?.amount_msats }, () => {
      const s = chanMan.pay_for_offer(o, optU64(p.quantity), optU64(p.amount_msat), optStr(p.payer_note), idBytes, ldk.Retry.constructor_attempts(p.retries ?? 5), optU64(p.max_fee_msat));
      if (!s.is_ok()) throw new Error(enumName(ldk.Bolt12SemanticError, s.err, 'LDKBolt12SemanticError_'));
    });
    return p.wait === false ? payments.get(id) : awaitPayment(id, p.timeout_ms ?? 60000);
  },
  create_refund(p) {
    const idBytes = new Uint8Array(crypto.randomBytes(32));
    const b = unwrapBolt12(chanMan.create_refund_builder(needMsat(p.amount_msat, 'amount_msat'), BigInt(ldkNow + (p.expiry ?? 3600)), idBytes, ldk.Retry.constructor_attempts(3), none.u64()), 'refund');
    b.description(p.description ?? 'refund');
    const r = unwrapBolt12(b.build(), 'refund');
    payments.set(hex(idBytes), { payment_id: hex(idBytes), kind: 'refund', amount_msat: p.amount_msat, status: 'pending', started: Date.now() });
    return { refund: r.to_str(), payment_id: hex(idBytes) };
  },
  request_refund(p) {
    const inv = unwrapBolt12(chanMan.request_refund_payment(unwrap(ldk.Refund.constructor_from_str(p.refund), 'refund')), 'refund');
    schedulePump();
    return { payment_hash: hex(inv.payment_hash()), amount_msat: inv.amount_msats() };
  },
  async wait_payment(p) { return awaitPayment(p.payment_id, p.timeout_ms ?? 60000); },
  abandon(p) { chanMan.abandon_payment(unhex(p.payment_id, 32)); pump(); return { ok: true }; },
  claim(p) {   // a held payment
    const r = received.get(p.payment_hash);
    const preimage = p.preimage ? unhex(p.preimage, 32) : r?.preimageBytes;
    if (!preimage) throw new Error('no preimage known');
    chanMan.claim_funds(preimage);
    pump();
    return { ok: true };
  },
  fail(p) { chanMan.fail_htlc_backwards(unhex(p.payment_hash, 32)); pump(); scheduleForward(); return { ok: true }; },
  list_payments: () => ({ sent: [...payments.values()], received: [...received.values()] }),
  events(p) { return events.filter((e) => e.seq > (p.since ?? 0) && (!p.type || e.type === p.type)).slice(-(p.limit ?? 500)); },
  async wait_event(p) {
    return waitEvent((e) => e.type === p.type && Object.entries(p.match ?? {}).every(([k, v]) => String(e[k]) === String(v)), p.timeout_ms ?? 30000, p.since ?? Infinity);
  },

  graph(p) {
    const g = networkGraph.read_only();   // a lock: free it before anything else runs
    try {
      const scids = [...g.list_channels()];
      const nodes = g.list_nodes();
      const out = { nodes: nodes.length, channels: scids.length };
      if (p.detail) {
        out.channel_list = scids.map((s) => {
          const c = g.channel(s);
          const side = (u) => (u && CommonBase.get_ptr_of(u) !== 0n ? { enabled: !!u.get_enabled(), base_msat: u.get_fees().get_base_msat(), ppm: u.get_fees().get_proportional_millionths(), cltv: u.get_cltv_expiry_delta() } : null);
          return { scid: scidText(s), node1: hex(c.get_node_one().as_slice()), node2: hex(c.get_node_two().as_slice()), capacity_sats: opt(c.get_capacity_sats()), one_to_two: side(c.get_one_to_two()), two_to_one: side(c.get_two_to_one()) };
        });
        out.node_list = nodes.map((n) => ({ node_id: hex(n.as_slice()), announced: opt(g.node(n).get_announcement_info()) != null }));
      }
      return out;
    } finally { g.free(); }
  },
  announce: () => ({ sent: maybeAnnounce(true) }),
  balances() {
    return chainMonitor.get_claimable_balances(chanMan.list_channels()).map((b) => ({ kind: b.constructor.name.replace('Balance_', ''), sats: b.amount_satoshis, confirmation_height: b.confirmation_height, timeout_height: b.timeout_height, claimable_height: b.claimable_height }));
  },
  monitors: () => chainMonitor.list_monitors().map((m) => ({ funding: outpointText(m.get_a()), channel_id: channelIdHex(m.get_b()) })),
  spendables: () => spendables.map(({ descriptor, ...s }) => s),
  async sweep() { return sweep(); },
  rebroadcast() { chainMonitor.rebroadcast_pending_claims(); pump(); return { ok: true }; },
  broadcasts: () => broadcasts.slice(-200),
  async sync() { while (await syncChain()) { /* until at the tip */ } await broadcastQueue; pump(); return { height: chain.tip.height, hash: chain.tip.hash }; },
  tick() { timerTick(); return { ok: true }; },
  gc() {
    const before = process.memoryUsage();
    global.gc?.();
    const after = process.memoryUsage();
    return { exposed: !!global.gc, rss_mb: [before.rss, after.rss].map((x) => Math.round(x / 1048576)), allocations: Number(bindings.getRemainingAllocationCount?.() ?? 0) };
  },
  stop() { setImmediate(() => shutdown(0)); return { ok: true }; },
  help: () => Object.keys(COMMANDS),
};
function unwrapBolt12(r, what) {
  if (r.is_ok()) return r.res;
  throw new Error(`${what}: ${enumName(ldk.Bolt12SemanticError, r.err, 'LDKBolt12SemanticError_')}`);
}
function shutdownScript(bytes) {
  const r = ldk.ShutdownScript.constructor_new_witness_program(ldk.WitnessProgram.constructor_new(bytes.slice(2), new WitnessVersion(bytes[0] === 0 ? 0 : bytes[0] - 0x50)));
  return unwrap(r, 'script');
}
function initFeatures() {
  // what a peer sees: ChannelManager's, the gossip handler's and the onion messenger's together
  const sets = [chanMan.init_features(), gossipFeatures, onionHandler.provided_init_features(NODE_ID)].map((f) => f.le_flags());
  const out = new Uint8Array(Math.max(...sets.map((s) => s.length)));
  for (const s of sets) s.forEach((v, i) => { out[i] |= v; });
  return { le_flags: () => out };
}
const gossipFeatures = keep(keep(gossipSync.as_RoutingMessageHandler()).provided_init_features(NODE_ID));

async function run(method, params) {
  const fn = Object.hasOwn(COMMANDS, method) ? COMMANDS[method] : null;
  if (!fn) throw new Error(`no command ${method}`);
  return fn(params ?? {});
}

// ---------------------------------------------------------------- go

function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server.address().port));
  });
}
function timerTick() {
  chanMan.timer_tick_occurred();
  chainMonitor.rebroadcast_pending_claims();
  scoreUpdate.time_passed(BigInt(Math.floor(Date.now() / 1000)));
  networkGraph.remove_stale_channels_and_tracking_with_time(BigInt(Math.floor(Date.now() / 1000)));
  pump();
}
async function shutdown(code) {
  if (dead) return;
  try {
    pump();
    if (DIR) writeFile('manager', chanMan.write());
    dead = true;
    ldkNet.stop();
    control.close();
  } catch (e) { log('error', 'stop', e.stack ?? e); }   // also when asked to stop before they exist
  setTimeout(() => process.exit(code), 50);
}
process.on('SIGTERM', () => shutdown(0));
process.on('SIGINT', () => shutdown(0));
let ready = false;
const failed = (kind, e) => {
  log('error', kind, e?.stack ?? e);
  if (!ready) process.exit(1);   // a node that could not start must not linger
};
process.on('unhandledRejection', (e) => failed('rejection', e));
process.on('uncaughtException', (e) => {
  failed('exception', e);
  // a trap inside the WASM (a Rust panic) leaves it unusable
  if (e instanceof WebAssembly.RuntimeError) { process.stdout.write(`PANIC ${e.message}\n`); process.exit(3); }
});

if (restored) await catchUp();
else {
  // some blocks below the start, so that a reorganisation across it can be told
  const low = Math.max(0, startTip.height - 100);
  const heights = Array.from({ length: startTip.height - low }, (_, i) => low + i);
  for (const b of await fetchMany(heights, async (height) => { const hash = await rpc('getblockhash', height); return { height, hash, header: await rpc('getblockheader', hash, false) }; })) chain.byHeight.set(b.height, b);
}
if (restored) {
  const low = Math.max(0, startTip.height - 100);
  for (let h = low; h < startTip.height; h++) { const hash = await rpc('getblockhash', h); chain.byHeight.set(h, { height: h, hash, header: await rpc('getblockheader', hash, false) }); }
}

const control = controlServer(run);
const ldkNet = new Net(peerManager);
keep(ldkNet);
const lnPort = num('ln-port') || await freePort();
await ldkNet.bind_listener('127.0.0.1', lnPort).catch(() => { throw new Error(`cannot listen on 127.0.0.1:${lnPort}`); });
const ctlPort = await listen(control, num('ctl-port'));
async function freePort() {
  const s = net.createServer();
  const p = await listen(s, 0);
  await new Promise((r) => s.close(r));
  return p;
}

setInterval(timerTick, num('tick-s') * 1000);
setInterval(schedulePump, 200);
setInterval(maybeAnnounce, 1000, false);
setInterval(() => { onionHandler.timer_tick_occurred(); }, 10000);
setInterval(() => { for (const [pk, a] of state.reconnect) if (!peerInfo(pk)) connectPeer(pk, a.host, a.port, 5000).catch(() => {}); }, 1000);
if (global.gc) setInterval(() => global.gc(), 30000);
(async () => {
  for (;;) {
    try { while (await syncChain()) { /* more */ } } catch (e) { log('warn', 'chain', e.message); }
    await sleep(num('poll-ms'));
  }
})();

const startMs = Date.now() - T_START;
log('info', 'start', `wasm ${T_WASM - T_START} ms, ready ${startMs} ms, node ${hex(NODE_ID)}`);
ready = true;
process.stdout.write(`READY ${toJSON({ node_id: hex(NODE_ID), ln_port: lnPort, ctl_port: ctlPort, pid: process.pid, start_ms: startMs, height: chain.tip.height })}\n`);
