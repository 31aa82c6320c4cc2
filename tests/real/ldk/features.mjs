// Names of the feature bits, for people who read logs.
import { hex } from './base.mjs';

// ---------------------------------------------------------------- features

const FEATURES = { 0: 'data_loss_protect', 3: 'initial_routing_sync', 4: 'upfront_shutdown_script', 6: 'gossip_queries', 8: 'var_onion_optin', 10: 'gossip_queries_ex', 12: 'static_remotekey', 14: 'payment_secret',
  16: 'basic_mpp', 18: 'large_channels(wumbo)', 20: 'anchor_outputs', 22: 'anchors_zero_fee_htlc_tx', 24: 'route_blinding', 26: 'shutdown_anysegwit', 28: 'dual_fund', 30: 'amp',
  34: 'quiesce', 36: 'attribution_data', 38: 'onion_messages', 42: 'provide_storage', 44: 'channel_type', 46: 'scid_alias', 48: 'payment_metadata', 50: 'zeroconf', 54: 'keysend', 56: 'trampoline_routing',
  60: 'simple_close', 62: 'splice', 148: 'trampoline(electrum/eclair)', 180: 'simple_taproot', 258: 'dns_resolution' };
export function featureNamesLE(flags) {
  const out = [];
  for (let bit = 0; bit < flags.length * 8; bit++) {
    if (flags[bit >> 3] & (1 << (bit & 7))) out.push(`${bit}:${FEATURES[bit & ~1] ?? 'unknown'}:${bit & 1 ? 'optional' : 'required'}`);
  }
  return out;
}
// Not write(): for some of the feature types that has a length in front.
export const featuresOf = (f) => ({ hex: hex(Uint8Array.from(f.le_flags()).reverse()), names: featureNamesLE(f.le_flags()) });   // hex as on the wire
