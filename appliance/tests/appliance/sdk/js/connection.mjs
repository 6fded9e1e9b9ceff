// Connecting, tokens and their renewal, commands of a connection, the codes a connection ends with.

import {
  api, assert, client, code, connected, cut, eventually, hunt, next, pack, path, publish, sign, sleep,
  subscribed, unix, user,
} from './kit.mjs';

export async function a_token_lets_in() {
  const made = await connected();
  assert.match(made.id, /^[0-9a-f-]{8,}$/);
  assert.equal(made.state, 'connected');
}

export async function a_token_is_fetched_when_there_is_none() {
  let asked = 0;
  const made = client({ getToken: async () => { asked += 1; return sign({ sub: user() }); } });
  const done = next(made, 'connected');
  made.connect();
  await done;
  assert.equal(asked, 1);
}

export async function a_bad_token_is_the_end() {
  for (const token of ['nonsense', sign({ sub: 'x' }, 'another secret'), sign({ sub: 'x', channel: 'c' })]) {
    const made = client({ token });
    const done = next(made, 'disconnected');
    made.connect();
    assert.equal((await done).code, 3500);
  }
}

export async function no_token_is_the_end() {
  const made = client();
  const done = next(made, 'disconnected');
  made.connect();
  assert.equal((await done).code, 3501);
}

export async function an_expired_token_is_replaced() {
  let asked = 0;
  const token = sign({ sub: 'late', exp: unix(-10) });
  const made = client({ token, getToken: async () => { asked += 1; return sign({ sub: 'late' }); } });
  const done = next(made, 'connected');
  made.connect();
  await done;
  assert.equal(asked, 1);
}

export async function a_token_is_renewed_before_it_ends() {
  let asked = 0;
  const name = user();
  const getToken = async () => { asked += 1; return sign({ sub: name, exp: unix(3) }); };
  const made = await connected(name, { token: '', getToken });
  const subscription = await subscribed(made, hunt());
  let left = 0;
  made.on('connecting', () => { left += 1; });
  await eventually('three tokens', () => asked >= 3);
  assert.equal(left, 0, 'the connection outlives its first token');
  await publish(subscription.channel, 1, 3);
  await subscription.log.exactly(1, 3);
}

export async function many_commands_share_a_frame() {
  const made = client({ token: sign({ sub: user() }) });
  const channels = Array.from({ length: 20 }, () => hunt());
  const all = channels.map((channel) => subscribed(made, channel));
  made.startBatching();
  made.connect();
  made.stopBatching();
  const subscriptions = await Promise.all(all);
  await Promise.all(channels.map((channel) => publish(channel, 1, 2)));
  for (const subscription of subscriptions) await subscription.log.exactly(1, 2);
}

export async function pings_keep_it_open() {
  // The server pings every 2 s and wants an answer in 1 s; the SDK wants a ping in time, too.
  const made = await connected(undefined, { maxServerPingDelay: 1500 });
  let left = 0;
  made.on('connecting', () => { left += 1; });
  await sleep(6500);
  assert.equal(left, 0);
  assert.equal(await code(made.history(hunt(), {})), 103, 'it still answers');
}

export async function unknown_methods_and_messages_are_refused() {
  const made = await connected();
  // 108 where there is no method at all, 104 where there are others.
  assert.ok([104, 108].includes(await code(made.rpc('no such method', pack({})))));
}

export async function a_position_is_taken() {
  const made = await connected();
  const start = Date.now();
  const at = (lat, after) => ({ lat, lon: 24.75, t: start + after, accuracy: 4.5 });
  await made.rpc('position', pack({ position: at(59.43, 0) }));
  await made.send(pack({ position: at(59.44, 1) }));
  await made.send(pack({ positions: [at(59.45, 3), at(59.46, 2)] }));
  const taken = await eventually('four points', async () => {
    const { points } = await path(made.user);
    return points.length === 4 && points;
  });
  assert.deepEqual(taken, [at(59.43, 0), at(59.44, 1), at(59.46, 2), at(59.45, 3)]);
  assert.equal(await code(made.rpc('position', pack({ position: at(91, 4) }))), 107);
  assert.equal(made.state, 'connected');
}

export async function a_backend_disconnects() {
  const made = await connected();
  const done = next(made, 'disconnected');
  await api('disconnect', { user: made.user });
  assert.equal((await done).code, 3503);
  await sleep(300);
  assert.equal(made.state, 'disconnected', 'for good');
}

export async function codes_decide_who_comes_back() {
  for (const [number, comes_back] of [[3001, true], [4000, true], [4499, true], [3999, false], [4500, false]]) {
    const made = await connected();
    const event = next(made, comes_back ? 'connecting' : 'disconnected');
    await api('disconnect', { user: made.user, disconnect: { code: number, reason: 'because' } });
    const ctx = await event;
    assert.deepEqual([ctx.code, ctx.reason], [number, 'because']);
    if (comes_back) await next(made, 'connected');
    else assert.equal(made.state, 'disconnected');
  }
}

export async function a_backend_disconnects_only_whom_it_names() {
  const name = user();
  const [one, other] = [await connected(name), await connected(name)];
  const done = next(one, 'disconnected');
  await api('disconnect', { user: name, whitelist: [other.id] });
  await done;
  assert.equal(other.state, 'connected');
  const gone = next(other, 'disconnected');
  await api('disconnect', { user: name, client: other.id });
  await gone;
}

export async function a_backend_refreshes() {
  let asked = 0;
  const name = user();
  const getToken = async () => { asked += 1; return sign({ sub: name }); };
  const made = await connected(name, { getToken });
  const again = next(made, 'connected');
  await api('refresh', { user: name, expired: true });
  await again;
  assert.equal(made.state, 'connected');
}

export async function a_cut_connection_comes_back_as_another() {
  const made = await connected();
  const first = made.id;
  const again = next(made, 'connected');
  cut(made);
  assert.notEqual((await again).client, first);
}

export async function what_an_app_says_of_itself_is_taken() {
  const made = client({ token: sign({ sub: user() }), data: pack({ device: 'x' }), name: 'app', version: '1.2' });
  const done = next(made, 'connected');
  made.connect();
  const { data } = await done;
  assert.ok(data === undefined || data.length === 0);
}
