// Subscribing, publishing, reading back, who is there.

import {
  api, assert, client, code, connected, eventually, format, Log, hunt, next, pack, publish, said, sign, sleep,
  subscribed, unix, unpack, user,
} from './kit.mjs';

const token = (channel, name, more = {}) => sign({ sub: name, channel, ...more });

export async function events_come_once_in_order() {
  const subscription = await subscribed(await connected(), hunt());
  await publish(subscription.channel, 1, 1000);
  await subscription.log.exactly(1, 1000);
}

export async function events_carry_a_number_for_the_name() {
  // In Protobuf this SDK offers to take numbers and then loses what comes with one: it compares the
  // objects that its decoder makes of them. So it is given none.
  if (format === 'protobuf') return;
  const made = await connected();
  const subscription = await subscribed(made, hunt());
  const [wire] = made.wires;
  await eventually('the reply', () => said(wire).includes('recoverable') || wire.frames.length > 1);
  wire.frames.length = 0;
  await publish(subscription.channel, 1, 10);
  await subscription.log.exactly(1, 10);
  assert.ok(!said(wire).includes(subscription.channel), 'the name is not repeated in each event');
  // The number is the server's for as long as the subscription lasts; another one has another.
  const other = await subscribed(made, hunt());
  await publish(other.channel, 1, 10);
  await other.log.exactly(1, 10);
}

export async function tags_come_along() {
  const subscription = await subscribed(await connected(), hunt());
  const event = next(subscription, 'publication');
  await api('publish', { channel: subscription.channel, data: { n: 1 }, tags: { level: 'hard', ü: '"' } });
  assert.deepEqual({ ...(await event).tags }, { level: 'hard', ü: '"' });
}

export async function odd_payloads_survive() {
  const subscription = await subscribed(await connected(), hunt());
  const payloads = [0, '', false, [], {}, 'née "Ω" \\ \n\u2028', { a: { b: [1.5, -3e10] } }, 'x'.repeat(60_000)];
  for (const data of payloads) {
    const event = next(subscription, 'publication');
    await api('publish', { channel: subscription.channel, data });
    assert.deepEqual(unpack((await event).data), data);
  }
}

export async function a_player_publishes_where_it_may() {
  const [writer, reader] = [await connected(), await connected()];
  const channel = hunt();
  const [from, to] = [await subscribed(writer, channel), await subscribed(reader, channel)];
  const event = next(to, 'publication');
  await from.publish(pack({ n: 1 }));
  const { info, offset, data } = await event;
  assert.deepEqual([offset, unpack(data)], [1, { n: 1 }]);
  assert.deepEqual([info.user, info.client], [writer.user, writer.id]);
  // Who is not subscribed may not, nor may anybody elsewhere.
  assert.equal(await code((await connected()).publish(channel, pack({ n: 2 }))), 103);
  assert.equal(await code(writer.publish(hunt('quiet'), pack({ n: 2 }))), 103);
  assert.equal(await code(writer.publish('nowhere:x', pack({ n: 2 }))), 102);
}

export async function what_may_not_be_subscribed_to() {
  const made = await connected();
  for (const [channel, number] of [['nowhere:x', 102], [hunt('closed'), 103], ['$full:x', 103]]) {
    const subscription = made.newSubscription(channel);
    const done = next(subscription, 'unsubscribed');
    subscription.subscribe();
    assert.equal((await done).code, number, channel);
  }
}

export async function a_token_opens_a_closed_hunt() {
  const made = await connected();
  for (const channel of [hunt('closed'), hunt('$closed')]) {
    const options = { getToken: async () => token(channel, made.user, { info: { team: 'red' } }) };
    const subscription = await subscribed(made, channel, options);
    await publish(channel, 1, 5);
    await subscription.log.exactly(1, 5);
  }
}

export async function a_bad_token_opens_nothing() {
  const made = await connected();
  const channel = hunt('closed');
  const bad = sign({ sub: made.user, channel }, 'another secret');
  const subscription = made.newSubscription(channel, { token: bad });
  const done = next(subscription, 'unsubscribed');
  subscription.subscribe();
  assert.equal((await done).code, 103);
  assert.equal(made.state, 'connected');
}

export async function a_token_for_somebody_else_is_the_end() {
  for (const claims of [
    (channel, made) => ({ sub: 'somebody else', channel }),
    (channel, made) => ({ sub: made.user, channel: `${channel}x` }),
    (channel, made) => ({ sub: made.user, channel, client: 'another' }),
  ]) {
    const made = await connected();
    const channel = hunt('closed');
    const subscription = made.newSubscription(channel, { token: sign(claims(channel, made)) });
    const done = next(made, 'disconnected');
    subscription.subscribe();
    assert.equal((await done).code, 3500);
  }
}

export async function an_expired_subscription_token_is_replaced() {
  const made = await connected();
  const channel = hunt('closed');
  const late = token(channel, made.user, { exp: unix(-10) });
  let asked = 0;
  const getToken = async () => { asked += 1; return token(channel, made.user); };
  await subscribed(made, channel, { token: late, getToken });
  assert.equal(asked, 1);
}

export async function a_subscription_token_is_renewed_before_it_ends() {
  const made = await connected();
  const channel = hunt('closed');
  let asked = 0;
  const getToken = async () => { asked += 1; return token(channel, made.user, { exp: unix(3) }); };
  const subscription = await subscribed(made, channel, { getToken });
  let left = 0;
  subscription.on('subscribing', () => { left += 1; });
  await eventually('three tokens', () => asked >= 3);
  assert.equal(left, 0);
  await publish(channel, 1, 5);
  await subscription.log.exactly(1, 5);
}

export async function a_name_may_say_who_may() {
  const made = await connected();
  const other = await connected();
  const channel = `${hunt('limited')}#${made.user},${user()}`;
  await subscribed(made, channel);
  const refused = other.newSubscription(channel);
  const done = next(refused, 'unsubscribed');
  refused.subscribe();
  assert.equal((await done).code, 103);
}

export async function history_is_read_in_pages() {
  const made = await connected();
  const subscription = await subscribed(made, hunt());
  await publish(subscription.channel, 1, 25);
  const offsets = (page) => page.publications.map(({ offset, data }) => [offset, unpack(data).n]);
  const range = (...numbers) => numbers.map((n) => [n, n]);
  const top = await subscription.history();
  assert.deepEqual([top.publications, top.offset], [[], 25]);
  const { epoch } = top;
  const all = await subscription.history({ limit: -1 });
  assert.deepEqual(offsets(all), range(...Array.from({ length: 25 }, (_, index) => index + 1)));
  const since = (offset) => ({ offset, epoch });
  assert.deepEqual(offsets(await subscription.history({ limit: 3 })), range(1, 2, 3));
  assert.deepEqual(offsets(await subscription.history({ limit: 3, since: since(3) })), range(4, 5, 6));
  assert.deepEqual(offsets(await subscription.history({ limit: 9, since: since(23) })), range(24, 25));
  assert.deepEqual(offsets(await subscription.history({ limit: 3, reverse: true })), range(25, 24, 23));
  const back = { limit: 3, reverse: true, since: since(5) };
  assert.deepEqual(offsets(await subscription.history(back)), range(4, 3, 2));
  const wrong = subscription.history({ limit: 3, since: { offset: 1, epoch: 'another' } });
  assert.equal(await code(wrong), 112);
  assert.equal(await code((await connected()).history(subscription.channel, {})), 103);
  assert.equal(await code(made.history(hunt('bare'), {})), 108);
}

export async function presence_names_who_is_there() {
  const channel = hunt();
  const one = await connected(user(), {});
  const name = user();
  const info = { team: 'blue' };
  const signed = { token: sign({ sub: name, info }) };
  const [two, three] = [await connected(name, signed), await connected(name, signed)];
  const first = await subscribed(one, channel);
  for (const other of [two, three]) await subscribed(other, channel);
  const { clients } = await first.presence();
  assert.deepEqual(Object.keys(clients).sort(), [one.id, two.id, three.id].sort());
  assert.deepEqual([clients[two.id].user, clients[two.id].client], [name, two.id]);
  assert.deepEqual(unpack(clients[two.id].connInfo), info);
  const stats = await first.presenceStats();
  assert.deepEqual([stats.numClients, stats.numUsers], [3, 2]);
  two.disconnect();
  await eventually('it has left', async () => (await first.presenceStats()).numClients === 2);
  assert.deepEqual(Object.keys((await first.presence()).clients).sort(), [one.id, three.id].sort());
  assert.equal(await code((await connected()).presence(channel)), 103);
  assert.equal(await code(one.presence(hunt('bare'))), 108);
}

export async function who_comes_and_goes_is_told() {
  const channel = hunt();
  const watcher = await connected();
  const subscription = await subscribed(watcher, channel);
  const told = [];
  subscription.on('join', ({ info }) => info.client !== watcher.id && told.push(['join', info.client, info.user]));
  subscription.on('leave', ({ info }) => told.push(['leave', info.client, info.user]));
  const wanted = [];
  for (let round = 0; round < 5; round++) {
    const other = await connected();
    const theirs = await subscribed(other, channel);
    wanted.push(['join', other.id, other.user], ['leave', other.id, other.user]);
    if (round % 2) theirs.unsubscribe();
    else other.disconnect();
    await eventually('it is told', () => told.length === wanted.length);
  }
  assert.deepEqual(told, wanted);
  await publish(channel, 1, 3);
  await subscription.log.exactly(1, 3);
}

export async function unsubscribing_ends_it_and_coming_back_recovers() {
  const made = await connected();
  const subscription = await subscribed(made, hunt());
  await publish(subscription.channel, 1, 3);
  await subscription.log.exactly(1, 3);
  const done = next(subscription, 'unsubscribed');
  subscription.unsubscribe();
  assert.equal((await done).code, 0);
  await publish(subscription.channel, 4, 6);
  await sleep(100);
  assert.equal(subscription.log.events.length, 3, 'nothing comes in between');
  const again = next(subscription, 'subscribed');
  subscription.subscribe();
  const { wasRecovering, recovered } = await again;
  assert.deepEqual([wasRecovering, recovered], [true, true]);
  await publish(subscription.channel, 7, 9);
  await subscription.log.exactly(1, 9);
}

export async function too_many_hunts_are_refused() {
  const made = await connected();
  const all = Array.from({ length: 128 }, () => subscribed(made, hunt()));
  await Promise.all(all);
  const one_more = made.newSubscription(hunt());
  const done = next(one_more, 'unsubscribed');
  one_more.subscribe();
  assert.equal((await done).code, 106);
}

/** Claims of a token that subscribe to `channel`, and what the subscription brings along. */
const CLAIMS = [
  [(channel) => ({ channels: [channel] }), undefined],
  [(channel) => ({ subs: { [channel]: { data: { welcome: true } } } }), { welcome: true }],
];

export async function claims_subscribe() {
  for (const [claims, data] of CLAIMS) {
    const channel = hunt();
    const made = client({ token: sign({ sub: user(), ...claims(channel) }) });
    const log = new Log(made, channel);
    const start = next(made, 'subscribed');
    made.connect();
    const ctx = await start;
    assert.deepEqual([ctx.channel, ctx.recoverable, ctx.data?.length === 0 ? undefined : ctx.data && unpack(ctx.data)],
      [channel, true, data]);
    await publish(channel, 1, 20);
    await log.exactly(1, 20);
    // Away and back: it recovers as any other.
    const again = next(made, 'connected');
    made.wires.at(-1).terminate();
    await publish(channel, 21, 30);
    await again;
    await publish(channel, 31, 40);
    await log.exactly(1, 40);
  }
}
