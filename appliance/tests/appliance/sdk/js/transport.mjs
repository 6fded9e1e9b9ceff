// Below the SDK: compression, readers that stop reading, and the endpoint without commands.

import { api, assert, connected, eventually, format, game, hunt, metric, publish, sign, sleep, subscribed, unix, user, WebSocket } from './kit.mjs';

const DEFLATE = { perMessageDeflate: { threshold: 0 } };

export async function compressed_events_are_the_same_events() {
  const [plain, small] = [await connected(), await connected(user(), {}, DEFLATE)];
  assert.equal(plain.wires[0].extensions, '');
  assert.match(small.wires[0].extensions, /permessage-deflate/);
  const channel = hunt('deflated');
  const [one, other] = [await subscribed(plain, channel), await subscribed(small, channel)];
  const before = [plain, small].map((made) => made.wires[0]._socket.bytesRead);
  const fill = 'The tide table on the pier hides a number. '.repeat(20);
  await publish(channel, 1, 500, fill);
  await one.log.exactly(1, 500);
  await other.log.exactly(1, 500);
  const [long, short] = [plain, small].map((made, index) => made.wires[0]._socket.bytesRead - before[index]);
  assert.ok(short * 4 < long, `${short} bytes of ${long}`);
  // Small ones and those of other hunts come as they are, on the same connection.
  const third = await subscribed(small, hunt());
  await publish(third.channel, 1, 50, fill);
  await publish(channel, 501, 550);
  await third.log.exactly(1, 50);
  await other.log.exactly(1, 550);
}

export async function a_slow_reader_is_cut_and_recovers() {
  const [slow, quick] = [await connected(), await connected()];
  const channel = hunt();
  const [late, prompt] = [await subscribed(slow, channel), await subscribed(quick, channel)];
  const codes = [];
  slow.on('connecting', (ctx) => codes.push(ctx.code));
  slow.wires.at(-1)._socket.pause();
  // Past what the kernels' buffers and client.lag_bytes_max hold together.
  const fill = 'x'.repeat(4000);
  let last = 0;
  const before = await metric('session_slow');
  while ((await metric('session_slow')) === before) {
    assert.ok(last < 20_000, 'it is given up');
    await publish(channel, last + 1, last + 200, fill);
    last += 200;
  }
  await prompt.log.exactly(1, last);
  slow.wires.at(-1)._socket.resume();
  await eventually('it comes back', () => codes.length);
  await publish(channel, last + 1, last + 100);
  await late.log.exactly(1, last + 100);
  await prompt.log.exactly(1, last + 100);
}

/** Messages of a plain WebSocket to the endpoint that takes no commands. */
function watch(query, greeting) {
  const url = `${game.replace('/connection/websocket', '/connection/uni_websocket')}${query}`;
  const socket = new WebSocket(url, { perMessageDeflate: false });
  const pushes = [];
  socket.on('message', (data) => pushes.push(...String(data).split('\n').map((line) => JSON.parse(line))));
  socket.on('error', (error) => pushes.push({ error: String(error) }));
  socket.on('close', (code) => { socket.code = code; });
  socket.on('open', () => greeting && socket.send(greeting));
  return { socket, pushes };
}

export async function without_commands_events_are_pushed() {
  if (format === 'protobuf') return;
  const name = user();
  const channel = hunt();
  const connect = JSON.stringify({ token: sign({ sub: name, exp: unix(3600) }), subs: { [channel]: {} } });
  for (const way of [['', connect], [`?cf_connect=${encodeURIComponent(connect)}`, '']]) {
    const { socket, pushes } = watch(...way);
    await eventually('connect', () => pushes.length);
    const top = pushes[0].connect.subs[channel].offset ?? 0;
    assert.match(pushes[0].connect.client, /./);
    await publish(channel, top + 1, top + 20);
    await eventually('the last', () => pushes.at(-1)?.pub?.offset === top + 20);
    const events = pushes.filter((push) => push.pub);
    assert.deepEqual(events.map((push) => push.channel), Array(20).fill(channel));
    assert.deepEqual(events.map((push) => push.pub.offset), Array.from({ length: 20 }, (_, index) => top + index + 1));
    // It is pinged and need not answer.
    await eventually('a ping', () => pushes.some((push) => Object.keys(push).length === 0));
    await sleep(1500);
    assert.equal(socket.readyState, WebSocket.OPEN);
    await api('disconnect', { user: name });
    await eventually('the end', () => socket.code);
    assert.equal(pushes.at(-1).disconnect.code, 3503);
    assert.equal(socket.code, 3503);
  }
}
