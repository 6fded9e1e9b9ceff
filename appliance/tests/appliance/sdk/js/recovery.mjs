// Being away: what was missed comes, once and in order, and then what is new. The SDK neither orders
// nor takes out doubles, so its publications are what was sent.

import { assert, api, client, connected, cut, eventually, hunt, next, publish, said, sign, sleep, subscribed, user } from './kit.mjs';

export async function a_short_gap_is_in_the_reply() {
  const made = await connected();
  const subscription = await subscribed(made, hunt());
  await publish(subscription.channel, 1, 5);
  await subscription.log.exactly(1, 5);
  const again = next(subscription, 'subscribed');
  cut(made);
  await publish(subscription.channel, 6, 9);
  const { recovered, wasRecovering } = await again;
  assert.deepEqual([wasRecovering, recovered], [true, true]);
  await publish(subscription.channel, 10, 20);
  await subscription.log.exactly(1, 20);
}

export async function a_long_gap_is_streamed() {
  const made = await connected();
  const subscription = await subscribed(made, hunt());
  await publish(subscription.channel, 1, 5);
  await subscription.log.exactly(1, 5);
  made.disconnect();
  const fill = 'x'.repeat(150);
  await publish(subscription.channel, 6, 6000, fill);
  const again = next(subscription, 'subscribed');
  made.connect();
  const { recovered, wasRecovering } = await again;
  assert.deepEqual([wasRecovering, recovered], [true, true]);
  // New ones while the old ones are still on their way.
  await publish(subscription.channel, 6001, 6200, fill);
  await subscription.log.exactly(1, 6200);
  const longest = Math.max(...made.wires.at(-1).frames.map((frame) => frame.byteLength ?? frame.length));
  assert.ok(longest < 64 * 1024, `no frame is giant: ${longest}`);
}

export async function a_new_player_starts_from_the_beginning() {
  const made = await connected();
  const channel = hunt();
  await publish(channel, 1, 3000);
  const subscription = made.newSubscription(channel, { since: { offset: 0, epoch: '' } });
  const events = [];
  subscription.on('publication', ({ offset }) => events.push(offset));
  subscription.subscribe();
  await publish(channel, 3001, 3100);
  await eventually('the last', () => events.at(-1) === 3100);
  assert.deepEqual(events, Array.from({ length: 3100 }, (_, index) => index + 1));
}

export async function what_is_gone_is_said() {
  const made = await connected();
  const subscription = await subscribed(made, hunt('short'));
  await publish(subscription.channel, 1, 3);
  await subscription.log.exactly(1, 3);
  made.disconnect();
  await publish(subscription.channel, 4, 20);
  const again = next(subscription, 'subscribed');
  made.connect();
  const { wasRecovering, recovered, streamPosition } = await again;
  assert.deepEqual([wasRecovering, recovered, streamPosition.offset], [true, false, 20]);
  await publish(subscription.channel, 21, 23);
  await eventually('the live ones', () => subscription.log.events.length === 6);
  assert.deepEqual(subscription.log.events.map(([offset]) => offset), [1, 2, 3, 21, 22, 23]);
}

export async function state_is_fetched_when_it_is_gone() {
  const made = await connected();
  let fetched = 0;
  const channel = hunt('short');
  const getState = async () => {
    fetched += 1;
    const { offset, epoch } = await api('history', { channel });
    return { offset, epoch };
  };
  await publish(channel, 1, 3);
  const subscription = await subscribed(made, channel, { getState });
  assert.equal(fetched, 1);
  await publish(channel, 4, 5);
  await subscription.log.exactly(4, 5);
  made.disconnect();
  await publish(channel, 6, 20);
  const again = next(subscription, 'subscribed');
  made.connect();
  await again;
  assert.equal(fetched, 2, 'error 112 made it fetch again');
  await publish(channel, 21, 22);
  await eventually('the live ones', () => subscription.log.events.length === 4);
  assert.deepEqual(subscription.log.events.map(([offset]) => offset), [4, 5, 21, 22]);
}

/** Publishes from `first` to `last` in small steps over some `ms`. */
async function publishSlowly(channel, first, last, ms) {
  const step = 20;
  const pause = (ms * step) / (last - first + 1);
  for (let from = first; from <= last; from += step) {
    await publish(channel, from, Math.min(from + step - 1, last));
    await sleep(pause);
  }
}

export async function a_storm_of_reconnects_loses_nothing() {
  const channels = [hunt(), hunt()];
  const players = await Promise.all(Array.from({ length: 40 }, () => connected()));
  const subscriptions = await Promise.all(players.flatMap((made) =>
    channels.map((channel) => subscribed(made, channel))));
  let cuts = 0;
  let over = false;
  const storm = (async () => {
    while (!over) {
      const made = players[Math.floor(Math.random() * players.length)];
      // In any state: while it connects, while it recovers, and while it is well.
      if (made.wires.at(-1).readyState < 2) { cut(made); cuts += 1; }
      await sleep(8);
    }
  })();
  await Promise.all(channels.map((channel) => publishSlowly(channel, 1, 3000, 6000)));
  // All at once, as after an outage.
  over = true;
  await storm;
  for (const made of players) cut(made);
  await Promise.all(channels.map((channel) => publishSlowly(channel, 3001, 3200, 500)));
  for (const { log } of subscriptions) await log.exactly(1, 3200);
  assert.ok(cuts > 200, `${cuts} cuts`);
}

export async function a_storm_by_the_backend_loses_nothing() {
  const channel = hunt();
  const name = user();
  const players = await Promise.all(Array.from({ length: 10 }, () => connected(name)));
  const subscriptions = await Promise.all(players.map((made) => subscribed(made, channel)));
  let over = false;
  const storm = (async () => {
    while (!over) {
      await api('disconnect', { user: name, disconnect: { code: 3011, reason: 'again' } });
      await sleep(150);
    }
  })();
  await publishSlowly(channel, 1, 2000, 3000);
  over = true;
  await storm;
  for (const { log } of subscriptions) await log.exactly(1, 2000);
}
