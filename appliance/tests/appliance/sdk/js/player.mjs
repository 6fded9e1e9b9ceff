// A player on the JavaScript SDK: prints what happens to it, one line each, until it is killed.
//
// Usage: player.mjs DIRECTORY_OF_NODE_MODULES json|protobuf URL TOKEN CHANNEL

import { createRequire } from 'node:module';

const [modules, format, url, token, channel] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { Centrifuge } = require(format === 'protobuf' ? 'centrifuge/build/protobuf' : 'centrifuge');
const websocket = require('ws');

// In Protobuf data are bytes.
const read = (data) => (format === 'protobuf' ? JSON.parse(new TextDecoder().decode(data)) : data);
const say = (...words) => console.log(words.join(' '));

// The default gives a silent server ten seconds; the test would wait as long.
const client = new Centrifuge(url, { token, websocket, maxServerPingDelay: 1000 });
client.on('connecting', (ctx) => say('connecting', ctx.code));
client.on('connected', () => say('connected'));
client.on('disconnected', (ctx) => say('disconnected', ctx.code));

const subscription = client.newSubscription(channel);
subscription.on('subscribed', (ctx) => say('subscribed', ctx.recovered ? 'recovered' : 'fresh'));
subscription.on('unsubscribed', (ctx) => say('unsubscribed', ctx.code));
subscription.on('publication', (ctx) => say('event', ctx.offset, read(ctx.data).n));

subscription.subscribe();
client.connect();
