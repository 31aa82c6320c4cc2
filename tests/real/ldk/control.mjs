// The control port: HTTP, or one JSON object a line, told apart by the first byte.
import * as http from 'node:http';
import * as net from 'node:net';
import { toJSON } from './base.mjs';

/** A server (not yet listening) that answers each request with what `run(method, params)` gives. */
export function controlServer(run) {
  const httpServer = http.createServer((req, res) => {
    let body = '';
    req.on('data', (d) => { body += d; });
    req.on('end', async () => {
      let out, status = 200;
      try {
        const parsed = body.trim() ? JSON.parse(body) : {};
        const name = req.url.replace(/^\//, '').split('?')[0];
        out = { result: await (name ? run(name, parsed) : run(parsed.method, parsed.params)) };
      } catch (e) { status = 400; out = { error: e.message }; }
      res.writeHead(status, { 'content-type': 'application/json' });
      res.end(toJSON(out) + '\n');
    });
  });
  httpServer.keepAliveTimeout = 120000;
  return net.createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.once('data', (first) => {
      if (first[0] !== 0x7b) {   // not "{": HTTP
        socket.pause();
        socket.unshift(first);
        httpServer.emit('connection', socket);
        socket.resume();
        return;
      }
      let buf = '';
      const onData = (d) => {
        buf += d;
        for (let i; (i = buf.indexOf('\n')) >= 0;) {
          const line = buf.slice(0, i).trim();
          buf = buf.slice(i + 1);
          if (!line) continue;
          let id = null;
          Promise.resolve().then(() => { const q = JSON.parse(line); id = q.id ?? null; return run(q.method, q.params); })
            .then((result) => ({ id, result: result ?? null }), (e) => ({ id, error: e.message }))
            .then((o) => socket.writable && socket.write(toJSON(o) + '\n'));
        }
      };
      socket.setEncoding('utf8');
      onData(first.toString('utf8'));
      socket.on('data', onData);
    });
  });
}
