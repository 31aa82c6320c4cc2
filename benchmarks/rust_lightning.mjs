// rust-lightning's graph, scorer and pathfinding, as benchmarks/rust_lightning.py asks for them: one command a line of
// JSON on stdin, one answer a line on stdout. Times are taken here, around the call alone.
import * as crypto from 'node:crypto';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import * as readline from 'node:readline';
import * as ldk from 'lightningdevkit';
import * as bindings from 'lightningdevkit/bindings.mjs';
import { CommonBase } from 'lightningdevkit/structs/CommonBase.mjs';

const require = createRequire(import.meta.url);
const answer = (value) => fs.writeSync(1, `${JSON.stringify(value)}\n`);
console.log = () => {};   // its greeting
console.error = (...words) => fs.writeSync(2, `${words.join(' ')}\n`);
await ldk.initializeWasmFromBinary(fs.readFileSync(require.resolve('lightningdevkit/liblightningjs.wasm')));

const MAINNET = ldk.Network.LDKNetwork_Bitcoin;
const ANNOUNCEMENT = 256, NODE = 257, UPDATE = 258;
function freeNow(wrapper, free) {
  const pointer = CommonBase.get_ptr_of(wrapper);
  CommonBase.set_null_skip_free(wrapper);
  free(pointer);
}

// It says a lot, and each word is an object of Rust's that has to be freed: at once, or everything gets slow.
const logger = ldk.Logger.new_impl({ log(record) { freeNow(record, bindings.Record_free); } });
const unhex = (text) => new Uint8Array(Buffer.from(text, 'hex'));
const clockMs = () => Number(process.hrtime.bigint()) / 1e6;
const someU64 = (value) => ldk.Option_u64Z.constructor_some(BigInt(value));
const none = {
  u64: ldk.Option_u64Z.constructor_none(),
  u32: ldk.Option_u32Z.constructor_none(),
  u16: ldk.Option_u16Z.constructor_none(),
  shutdown: ldk.Option_ChannelShutdownStateZ.constructor_none(),
};

function must(result, what) {
  if (!result.is_ok()) throw new Error(`${what}: ${result.err?.get_err?.() ?? 'refused'}`);
  return result.res;
}

function* records(path) {
  const data = fs.readFileSync(path);
  for (let at = 0; at < data.length;) {
    const end = at + 2 + data.readUInt16BE(at);
    yield data.subarray(at + 2, end);
    at = end;
  }
}

// What Rust made for JavaScript is freed at a turn of the loop only; without one, each call costs more than the last.
const breath = () => new Promise((resolve) => { setImmediate(resolve); });

// ---------------------------------------------------------------- the graph

let graph = null, scorer = null, lookUp = null;
const fees = ldk.ProbabilisticScoringFeeParameters.constructor_default();

function scored(network) {
  graph = network;
  scorer = ldk.ProbabilisticScorer.constructor_new(
    ldk.ProbabilisticScoringDecayParameters.constructor_default(), graph, logger);
  lookUp = scorer.as_ScoreLookUp();
}

// Its look-up of funding outputs: what we say of the capacity, paid to the script that it expects.
let funding = null;
const utxoLookup = ldk.UtxoLookup.new_impl({
  get_utxo() {
    const keys = [...funding.keys].sort(Buffer.compare);
    const script = Buffer.concat([Buffer.of(0x52, 33), keys[0], Buffer.of(33), keys[1], Buffer.of(0x52, 0xae)]);
    const program = crypto.createHash('sha256').update(script).digest();
    const output = ldk.TxOut.constructor_new(funding.sat, new Uint8Array(Buffer.concat([Buffer.of(0, 32), program])));
    return ldk.UtxoResult.constructor_sync(ldk.Result_TxOutUtxoLookupErrorZ.constructor_ok(output));
  },
});

// A record: a type in two bytes; of an announcement, the capacity in eight; the message without its signatures.
// It is written as its file, to be read by the next process.
async function load({ file, cache }) {
  const network = ldk.NetworkGraph.constructor_new(MAINNET, logger);
  const withLookup = ldk.Option_UtxoLookupZ.constructor_some(utxoLookup);
  let channels = 0, updates = 0;
  for (const record of records(file)) {
    if ((channels + updates) % 500 === 0) await breath();
    if (record.readUInt16BE(0) === ANNOUNCEMENT) {
      const raw = record.subarray(10);
      funding = {
        sat: record.readBigUInt64BE(2),
        keys: [raw.subarray(raw.length - 66, raw.length - 33), raw.subarray(raw.length - 33)],
      };
      const message = must(ldk.UnsignedChannelAnnouncement.constructor_read(new Uint8Array(raw)), 'announcement');
      must(network.update_channel_from_unsigned_announcement(message, withLookup), 'announcement');
      freeNow(message, bindings.UnsignedChannelAnnouncement_free);
      channels++;
    } else {
      const message = must(ldk.UnsignedChannelUpdate.constructor_read(new Uint8Array(record.subarray(2))), 'update');
      must(network.update_channel_unsigned(message), 'update');
      freeNow(message, bindings.UnsignedChannelUpdate_free);
      updates++;
    }
  }
  fs.writeFileSync(cache, network.write());
  return { channels, updates };
}

function read({ cache }) {
  const bytes = new Uint8Array(fs.readFileSync(cache));
  const began = clockMs();
  const network = must(ldk.NetworkGraph.constructor_read(bytes, logger), 'graph');
  const took = clockMs() - began;
  scored(network);
  const view = graph.read_only();
  const channels = view.list_channels().length;
  view.free();
  return { ms: took, channels };
}

// ---------------------------------------------------------------- routes

function pathOf(hops) {
  return ldk.Path.constructor_new(hops.map(([node, scid, fee_msat, cltv_delta]) => ldk.RouteHop.constructor_new(
    unhex(node), ldk.NodeFeatures.constructor_empty(), BigInt(scid), ldk.ChannelFeatures.constructor_empty(),
    BigInt(fee_msat), cltv_delta, true)), null);
}

function teach({ lessons }) {
  const update = scorer.as_ScoreUpdate();
  for (const { hops, failed, at } of lessons) {
    if (failed === null) update.payment_path_successful(pathOf(hops), BigInt(at));
    else update.payment_path_failed(pathOf(hops), BigInt(failed), BigInt(at));
  }
  return { lessons: lessons.length };
}

// What a payer knows of a channel of its own.
function ownChannel([other, scid, limit_msat]) {
  const peer = ldk.ChannelCounterparty.constructor_new(
    unhex(other), ldk.InitFeatures.constructor_empty(), 0n, null, none.u64, none.u64);
  return ldk.ChannelDetails.constructor_new(
    ldk.ChannelId.constructor_new_zero(), peer, null, null, someU64(scid), none.u64, none.u64,
    BigInt(limit_msat) / 1000n, none.u64, 0n, none.u32, BigInt(limit_msat), BigInt(limit_msat), 1n, 0n,
    none.u32, none.u32, none.u16, true, true, none.shutdown, true, true, none.u64, none.u64, null, [], []);
}

const asked = new Map();

function pairs({ pairs: list }) {
  asked.clear();
  list.forEach((pair, number) => asked.set(number, {
    source: unhex(pair.source), payee: unhex(pair.payee), amount_msat: BigInt(pair.amount_msat),
    hops: pair.hops.map(ownChannel),
  }));
  return { pairs: asked.size };
}

function routes({ parts, final_cltv_delta }) {
  return { routes: [...asked.values()].map(({ source, payee, amount_msat, hops }) => {
    const payment = ldk.PaymentParameters.constructor_for_keysend(payee, final_cltv_delta, true);
    payment.set_max_path_count(parts);
    const params = ldk.RouteParameters.constructor_from_payment_params_and_value(payment, amount_msat);
    const began = clockMs();
    const found = ldk.UtilMethods.constructor_find_route(
      source, params, graph, hops, logger, lookUp, fees, new Uint8Array(32));
    const ms = clockMs() - began;
    if (!found.is_ok()) return { ms, parts: 0, fee_msat: 0, why: found.err.get_err() };
    return { ms, parts: found.res.get_paths().length, fee_msat: Number(found.res.get_total_fees()) };
  }) };
}

// ---------------------------------------------------------------- gossip, every signature checked

function gossip({ file }) {
  const network = ldk.NetworkGraph.constructor_new(MAINNET, logger);
  const sync = ldk.P2PGossipSync.constructor_new(network, ldk.Option_UtxoLookupZ.constructor_none(), logger);
  const handler = sync.as_RoutingMessageHandler();
  const KINDS = {
    [ANNOUNCEMENT]: [ldk.ChannelAnnouncement, 'handle_channel_announcement'],
    [NODE]: [ldk.NodeAnnouncement, 'handle_node_announcement'],
    [UPDATE]: [ldk.ChannelUpdate, 'handle_channel_update'],
  };
  const messages = [...records(file)].map((raw) => [KINDS[raw.readUInt16BE(0)], new Uint8Array(raw.subarray(2))]);
  const peer = unhex(`02${'79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'}`);
  const began = clockMs();
  for (const [[kind, handle], raw] of messages) {
    must(handler[handle](peer, must(kind.constructor_read(raw), handle)), handle);
  }
  return { ms: clockMs() - began, messages: messages.length };
}

const COMMANDS = { load, read, teach, pairs, routes, gossip };
answer({ ready: true });
for await (const line of readline.createInterface({ input: process.stdin })) {
  const { command, ...given } = JSON.parse(line);
  try {
    answer(await COMMANDS[command](given));
  } catch (error) {
    answer({ error: String(error?.stack ?? error) });
  }
}
