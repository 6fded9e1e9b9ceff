// What a backend does to players through the server API, as the players see it.

import { api, assert, client, code, connected, eventually, hunt, Log, next, pack, publish, sign, subscribed, unpack, user } from './kit.mjs';

export async function it_subscribes_and_unsubscribes_a_user() {
  const made = await connected();
  const channel = hunt();
  await publish(channel, 1, 2);
  const log = new Log(made, channel);
  const done = next(made, 'subscribed');
  await api('subscribe', { user: made.user, channel, data: { hello: 1 } });
  const ctx = await done;
  assert.deepEqual([ctx.channel, ctx.recoverable, ctx.streamPosition.offset, unpack(ctx.data)],
    [channel, true, 2, { hello: 1 }]);
  await publish(channel, 3, 50);
  await log.exactly(3, 50);
  const gone = next(made, 'unsubscribed');
  await api('unsubscribe', { user: made.user, channel });
  assert.equal((await gone).channel, channel);
  await publish(channel, 51, 52);
  await log.exactly(3, 50);
}

export async function it_unsubscribes_what_a_player_subscribed() {
  const made = await connected();
  const subscription = await subscribed(made, hunt());
  const gone = next(subscription, 'unsubscribed');
  await api('unsubscribe', { user: made.user, channel: subscription.channel });
  assert.equal((await gone).code, 2000);
  assert.equal(subscription.state, 'unsubscribed');
}

export async function it_reaches_one_connection_of_a_user() {
  const name = user();
  const [one, other] = [await connected(name), await connected(name)];
  const channel = hunt();
  const [subscription, witness] = [await subscribed(one, channel), await subscribed(other, channel)];
  const gone = next(subscription, 'unsubscribed');
  await api('unsubscribe', { user: name, channel, client: one.id });
  await gone;
  await publish(channel, 1, 3);
  await witness.log.exactly(1, 3);
  assert.deepEqual(subscription.log.events, []);
}

export async function one_publish_with_a_key_arrives_once() {
  const subscription = await subscribed(await connected(), hunt());
  const { channel } = subscription;
  const once = { channel, data: { n: 1 }, idempotency_key: 'key' };
  const [first, second] = [await api('publish', once), await api('publish', once)];
  assert.deepEqual(first, second);
  await publish(channel, 2, 3);
  await subscription.log.exactly(1, 3);
}

export async function what_skips_the_history_has_no_place() {
  const subscription = await subscribed(await connected(), hunt());
  const { channel } = subscription;
  await publish(channel, 1, 1);
  await subscription.log.exactly(1, 1);
  const seen = [];
  subscription.on('publication', ({ offset, data }) => seen.push([offset ?? 0, unpack(data).n]));
  await api('publish', { channel, data: { n: 'fleeting' }, skip_history: true });
  await publish(channel, 2, 2);
  await eventually('both', () => seen.length === 2);
  assert.deepEqual(seen, [[0, 'fleeting'], [2, 2]]);
  const { publications } = await api('history', { channel, limit: -1 });
  assert.deepEqual(publications.map(({ offset }) => offset), [1, 2]);
}

export async function a_broadcast_reaches_all() {
  const made = await connected();
  const subscriptions = [await subscribed(made, hunt()), await subscribed(made, hunt())];
  const channels = subscriptions.map(({ channel }) => channel);
  await api('broadcast', { channels, data: { n: 1 } });
  for (const { log } of subscriptions) await log.exactly(1, 1);
}

export async function it_empties_a_history() {
  const made = await connected();
  const subscription = await subscribed(made, hunt());
  const { channel } = subscription;
  await publish(channel, 1, 5);
  await subscription.log.exactly(1, 5);
  await api('history_remove', { channel });
  const { publications, offset } = await subscription.history({ limit: -1 });
  assert.deepEqual([publications, offset], [[], 5]);
  await publish(channel, 6, 7);
  await subscription.log.exactly(1, 7);
}

export async function it_sees_who_is_there() {
  const made = await connected();
  const { channel } = await subscribed(made, hunt());
  // The journal hears of a player by another way than of a backend's question.
  const presence = await eventually('it is there', async () => {
    const answer = await api('presence', { channel });
    return Object.keys(answer.presence).length && answer.presence;
  });
  assert.deepEqual(presence, { [made.id]: { client: made.id, user: made.user } });
  assert.deepEqual(await api('presence_stats', { channel }), { num_clients: 1, num_users: 1 });
  const { channels } = await api('channels', { pattern: `${channel.slice(0, -1)}*` });
  assert.deepEqual(channels[channel], { num_clients: 1 });
}
