// The chain: bitcoind by JSON-RPC, asynchronously for ourselves and synchronously for Rust's callbacks.
import * as fs from 'node:fs';
import { MessageChannel, Worker, receiveMessageOnPort } from 'node:worker_threads';
import { ARGS, NAME, jsonable, log, unhex } from './base.mjs';

// ---------------------------------------------------------------- bitcoind

export const RPC = {
  url: ARGS['rpc-url'].replace(/\/+$/, ''),
  wallet: ARGS['rpc-wallet'] || `ldk-${NAME}`,
  auth() {
    const up = ARGS['rpc-cookie'] ? fs.readFileSync(ARGS['rpc-cookie'], 'utf8').trim() : `${ARGS['rpc-user']}:${ARGS['rpc-pass']}`;
    return 'Basic ' + Buffer.from(up).toString('base64');
  },
};
const WALLET_PATH = `/wallet/${encodeURIComponent(RPC.wallet)}`;
class RpcError extends Error {
  constructor(method, e) { super(`${method}: ${e.message} (${e.code})`); this.code = e.code; }
}
async function rpcAt(where, method, params = []) {
  const r = await fetch(RPC.url + where, {
    method: 'POST', headers: { 'content-type': 'application/json', authorization: RPC.auth() },
    body: JSON.stringify({ jsonrpc: '1.0', id: 0, method, params }, jsonable),
    signal: AbortSignal.timeout(60000),
  });
  const text = await r.text();
  let j;
  try { j = JSON.parse(text); } catch { throw new Error(`${method}: HTTP ${r.status} ${text.slice(0, 200)}`); }
  if (j.error) throw new RpcError(method, j.error);
  return j.result;
}
export const rpc = (method, ...params) => rpcAt('', method, params);
export const wrpc = (method, ...params) => rpcAt(WALLET_PATH, method, params);

// Rust asks for coins and for chain look-ups synchronously; a worker thread does
// the HTTP request while this thread waits on shared memory.
const SYNC_WORKER = `
const { workerData } = require('node:worker_threads');
const { url, auth, sab, port } = workerData;
const flag = new Int32Array(sab);
port.on('message', async ({ where, method, params }) => {
  let out;
  try {
    const r = await fetch(url + where, { method: 'POST', headers: { 'content-type': 'application/json', authorization: auth },
      body: JSON.stringify({ jsonrpc: '1.0', id: 0, method, params }), signal: AbortSignal.timeout(20000) });
    const j = JSON.parse(await r.text());
    out = j.error ? { error: method + ': ' + j.error.message + ' (' + j.error.code + ')' } : { result: j.result };
  } catch (e) { out = { error: method + ': ' + (e.cause ?? e) }; }
  port.postMessage(out);
  Atomics.store(flag, 0, 1); Atomics.notify(flag, 0);
});`;
class SyncRpc {
  start() {
    const { port1, port2 } = new MessageChannel();
    const sab = new SharedArrayBuffer(4);
    this.flag = new Int32Array(sab);
    this.port = port1;
    this.worker = new Worker(SYNC_WORKER, {
      eval: true, workerData: { url: RPC.url, auth: RPC.auth(), sab, port: port2 }, transferList: [port2],
      resourceLimits: { maxOldGenerationSizeMb: 64 },
    });
    this.worker.unref();
    this.port.unref();
  }
  call(where, method, params) {
    if (!this.worker) this.start();
    Atomics.store(this.flag, 0, 0);
    this.port.postMessage({ where, method, params });
    if (Atomics.wait(this.flag, 0, 0, 25000) === 'timed-out') throw new Error(`${method}: no answer`);
    const { message } = receiveMessageOnPort(this.port);
    if (message.error) throw new Error(message.error);
    return message.result;
  }
}
const syncRpc = new SyncRpc();
export const rpcSync = (method, ...params) => syncRpc.call('', method, params);
export const wrpcSync = (method, ...params) => syncRpc.call(WALLET_PATH, method, params);

export async function loadWallet() {
  const have = await rpc('listwallets');
  if (have.includes(RPC.wallet)) return;
  try { await rpc('loadwallet', RPC.wallet); } catch {
    try { await rpc('createwallet', RPC.wallet); } catch (e) { log('warn', 'wallet', e.message); }
  }
}
let receiveScript = null;
export async function walletScript() {   // where sweeps go
  if (!receiveScript) {
    const a = await wrpc('getnewaddress', 'ldk-sweep', 'bech32');
    receiveScript = unhex((await wrpc('getaddressinfo', a)).scriptPubKey);
  }
  return receiveScript;
}
