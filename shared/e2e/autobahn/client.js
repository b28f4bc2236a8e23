// autobahn-js as a client that a test drives, by the lines that client.py
// describes. It knows rawsocket with JSON and without TLS alone; a CA comes by
// NODE_EXTRA_CA_CERTS, not by the command.
"use strict";

const dns = require("dns");
const fs = require("fs");
const readline = require("readline");
// Its warnings stand on standard output, where answers belong.
console.log = console.warn = console.info = console.error;
const autobahn = require("autobahn");
// Node.js before 20, as in Debian 12, tries the first address of localhost alone,
// which is ::1; what is tested listens on 127.0.0.1.
dns.setDefaultResultOrder("ipv4first");

// What JSON can show, whatever the serializer made of it.
function plain(value) {
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("hex") };
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return plain(Object.fromEntries(value));
  if (typeof value === "bigint") return Number(value);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, plain(v)]));
  }
  return value === undefined ? null : value;
}

function say(message) {
  process.stdout.write(JSON.stringify(plain(message)) + "\n");
}

function failure(error) {
  if (error instanceof autobahn.Error) return { uri: error.error, args: error.args, kwargs: error.kwargs };
  return { uri: "javascript." + (error && error.name), args: [String(error && error.message || error)], kwargs: {} };
}

const commands = {
  call: (session, c) => {
    const options = c.timeout ? { timeout: Math.floor(c.timeout * 1000) } : {};
    return session.call(c.uri, c.args || [], c.kwargs || {}, options);
  },
  subscribe: async (session, c) => {
    const heard = (args, kwargs, details) => say({ event: { topic: details.topic || c.topic, args, kwargs } });
    await session.subscribe(c.topic, heard, c.match ? { match: c.match } : {});
    return true;
  },
  register: async (session, c) => {
    await session.register(c.uri, (args, kwargs) => new autobahn.Result(args, kwargs));
    return true;
  },
  publish: async (session, c) => {
    await session.publish(c.topic, c.args || [], c.kwargs || {}, { acknowledge: true });
    return true;
  },
};

async function obey(session, c) {
  try {
    if (!commands[c.do]) throw new TypeError("unknown command " + c.do);
    const result = await commands[c.do](session, c);
    say({ id: c.id, result: result instanceof autobahn.Result ? result.args[0] : result });
  } catch (error) { // every failure is an answer
    say({ id: c.id, error: failure(error) });
  }
}

function serializer(name) {
  switch (name) {
    case "cbor": return new autobahn.serializer.CBORSerializer();
    case "msgpack": return new autobahn.serializer.MsgpackSerializer();
    case "json": return new autobahn.serializer.JSONSerializer();
  }
  throw new TypeError("unknown serializer " + name);
}

function transport(c) {
  const url = c.url;
  if (url.startsWith("rs+unix://")) return { type: "rawsocket", path: url.slice("rs+unix://".length) };
  if (url.startsWith("rs://")) {
    const { hostname, port } = new URL(url.replace("rs://", "http://"));
    return { type: "rawsocket", host: hostname, port: Number(port) };
  }
  return { type: "websocket", url, serializers: [serializer(c.serializer)] };
}

function authentication(c) {
  const read = (path) => fs.readFileSync(path, "ascii").trim();
  if (c.ticket) {
    return { authmethods: ["ticket"], authid: c.authid, onchallenge: () => read(c.ticket) };
  }
  if (c.secret) {
    const sign = (_session, _method, extra) => {
      let secret = read(c.secret);
      if (extra.salt) secret = autobahn.auth_cra.derive_key(secret, extra.salt, extra.iterations, extra.keylen);
      return autobahn.auth_cra.sign(secret, extra.challenge);
    };
    return { authmethods: ["wampcra"], authid: c.authid, onchallenge: sign };
  }
  if (c.key) {
    const pair = autobahn.nacl.sign.keyPair.fromSeed(Buffer.from(read(c.key), "hex"));
    return {
      authmethods: ["cryptosign"], authid: c.authid || "anyone",
      authextra: { pubkey: Buffer.from(pair.publicKey).toString("hex") },
      onchallenge: (_session, _method, extra) => autobahn.auth_cryptosign.sign_challenge(pair, extra),
    };
  }
  return { authmethods: ["anonymous"] };
}

function join(first, lines) {
  const connection = new autobahn.Connection({
    realm: first.realm, transports: [transport(first)], max_retries: 0, retry_if_unreachable: false, ...authentication(first),
  });
  connection.onopen = (session, details) => {
    say({ joined: { realm: details.realm || session.realm, authid: details.authid, authrole: details.authrole } });
    lines.on("line", (line) => obey(session, JSON.parse(line)));
    lines.on("close", () => connection.close());
    lines.resume();
  };
  connection.onclose = (reason, details) => {
    // What is still to be written goes out by itself: say is synchronous.
    say({ left: { reason: details.reason || "javascript." + reason, message: details.message || "" } });
    process.exit(0);
  };
  connection.open();
}

const lines = readline.createInterface({ input: process.stdin, crlfDelay: Infinity });
lines.once("line", (line) => {
  lines.pause();
  join(JSON.parse(line), lines);
});
