// What the scenarios share: clients of the SDK in the protocol under test, tokens, the server API,
// and the record of what a subscription delivered.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';

const [modules, format, game, admin, key, secret] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Centrifuge } = require(format === 'protobuf' ? 'centrifuge/build/protobuf' : 'centrifuge');
export const WebSocket = require('ws');

/** How long anything may take that is expected to happen. */
const PATIENCE_MS = 15_000;

export { assert, format, game };

const isProtobuf = format === 'protobuf';

/** What the SDK takes as data: an object, or in Protobuf its JSON in bytes. */
export const pack = (value) => (isProtobuf ? new TextEncoder().encode(JSON.stringify(value)) : value);

/** The value that the SDK gives as data. */
export const unpack = (data) => (isProtobuf ? JSON.parse(new TextDecoder().decode(data)) : data);

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Waits until `holds` gives something; `what` is said if it never does. */
export async function eventually(what, holds) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await holds();
    if (found) return found;
    assert.ok(Date.now() < end, `never: ${what}`);
    await sleep(5);
  }
}

/** The context of the next `event` of a client or subscription. */
export function next(emitter, event) {
  const promise = new Promise((done, fail) => {
    const late = setTimeout(() => fail(new Error(`never: ${event}`)), PATIENCE_MS);
    emitter.once(event, (ctx) => {
      clearTimeout(late);
      done(ctx);
    });
  });
  // Who does not get as far as waiting for it has failed already.
  promise.catch(() => {});
  return promise;
}

/** The code that `promise` is refused with. */
export async function code(promise) {
  try {
    await promise;
  } catch (error) {
    return error.code;
  }
  return 0;
}

// ---- Tokens ----

const base64url = (text) => Buffer.from(text).toString('base64url');

/** Seconds of Unix time, `after` from now. */
export const unix = (after) => Math.floor(Date.now() / 1000) + after;

/** A token (HS256) with these claims. */
export function sign(claims, signer = secret) {
  const head = `${base64url('{"alg":"HS256","typ":"JWT"}')}.${base64url(JSON.stringify(claims))}`;
  return `${head}.${createHmac('sha256', signer).update(head).digest('base64url')}`;
}

// ---- Server API ----

/** Calls a method of the server API; gives the result, or throws the error with its code. */
export async function api(method, body = {}) {
  const answer = await fetch(`${admin}/api/${method}`, {
    method: 'POST',
    headers: { 'X-API-Key': key, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  assert.equal(answer.status, 200, method);
  const { error, result, ...bare } = await answer.json();
  if (error) throw Object.assign(new Error(`${method}: ${error.code} ${error.message}`), error);
  // The answer to a batch is bare.
  return result ?? bare;
}

/** A metric, summed over the cores. */
export async function metric(name) {
  const text = await (await fetch(`${admin}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`cluecast_${name}`));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}

/** Publishes {"n": number} for each number from `first` to `last`, whose offsets have to be the same. */
export async function publish(channel, first, last, fill = '') {
  for (let from = first; from <= last; from += 200) {
    const numbers = Array.from({ length: Math.min(200, last - from + 1) }, (_, index) => from + index);
    const commands = numbers.map((n) => ({ publish: { channel, data: { n, fill } } }));
    const { replies } = await api('batch', { commands });
    assert.deepEqual(replies.map((reply) => reply.publish?.offset), numbers, 'offsets of the publisher');
  }
}

/** The path of `name`, its first page. */
export async function path(name) {
  const answer = await fetch(`${admin}/api/players/${name}/path`, { headers: { 'X-API-Key': key } });
  assert.equal(answer.status, 200, 'path');
  return answer.json();
}

let names = 0;

/** A hunt of its own in `namespace`. */
export const hunt = (namespace = 'full') => `${namespace}:${format}-${process.pid}-${names++}`;

/** A user of its own. */
export const user = () => `user-${format}-${names++}`;

// ---- Clients ----

/** A WebSocket that keeps what it was sent, and can be cut or stopped. */
class Wire extends WebSocket {
  constructor(url, protocols, options) {
    super(url, protocols, { perMessageDeflate: false, ...Wire.options, ...options });
    this.frames = [];
    // Only what shows the protocol is looked at; a long one is not kept.
    this.on('message', (data) => this.frames.length < 20_000 && this.frames.push(data));
    Wire.opened?.(this);
  }
}

const open = new Set();

/** A client of the SDK; `wires` of it are its WebSockets, the newest last. */
export function client(options = {}, wireOptions = {}) {
  const wires = [];
  const websocket = class extends Wire {
    constructor(url, protocols) {
      super(url, protocols, wireOptions);
      wires.push(this);
    }
  };
  const made = new Centrifuge(game, { websocket, minReconnectDelay: 20, maxReconnectDelay: 200, ...options });
  made.wires = wires;
  open.add(made);
  return made;
}

/** A client that is connected, as `name`. */
export async function connected(name = user(), options = {}, wireOptions = {}) {
  const made = client({ token: sign({ sub: name, exp: unix(3600) }), ...options }, wireOptions);
  const done = next(made, 'connected');
  made.connect();
  made.id = (await done).client;
  made.user = name;
  return made;
}

/** Ends the connection below the SDK, which then connects again. */
export const cut = (of) => of.wires.at(-1).terminate();

export function closeAll() {
  for (const made of open) made.disconnect();
  open.clear();
}

// ---- What was delivered ----

/** Offsets and numbers of the publications of `emitter` (for a client: those of `channel`). */
export class Log {
  constructor(emitter, channel) {
    this.events = [];
    emitter.on('publication', (ctx) => {
      if (channel && ctx.channel !== channel) return;
      this.events.push([ctx.offset, unpack(ctx.data).n]);
    });
  }

  /** Waits for the event at `last`, then for what may still come; holds that it was first..last, each once. */
  async exactly(first, last) {
    await eventually(`event ${last} (has ${JSON.stringify(this.events.at(-1))})`, () =>
      this.events.length && this.events.at(-1)[0] >= last);
    await sleep(100);
    const wrong = this.events.findIndex(([offset, n], index) => offset !== first + index || n !== offset);
    const around = JSON.stringify(this.events.slice(Math.max(wrong - 2, 0), wrong + 3));
    assert.equal(wrong, -1, `every event once, in order: ${around}`);
    assert.equal(this.events.length, last - first + 1);
  }
}

/** A subscription of `of` to `channel`, established; `log` of it is what it delivered. */
export async function subscribed(of, channel, options = {}) {
  const subscription = of.newSubscription(channel, options);
  subscription.log = new Log(subscription);
  const done = next(subscription, 'subscribed');
  subscription.subscribe();
  subscription.start = await done;
  return subscription;
}

/** All the bytes that a wire was sent, for what must or must not be in them. */
export const said = (wire) => Buffer.concat(wire.frames.map((frame) => Buffer.from(frame))).toString('latin1');
