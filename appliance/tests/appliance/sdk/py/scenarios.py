"""Scenarios of a game's life on centrifuge-python and cent, each by itself against the running appliance.

Usage: scenarios.py json|protobuf GAME_URL ADMIN_URL API_KEY TOKEN_SECRET [NAME...] [-NAME...]
Runs those with a NAME in theirs, or all; without those with a -NAME. One line a scenario; `N held,
N failed` at the end.
"""

import asyncio
import random

import cent
from kit import (
    Heard, Log, api, client, code, connected, cut, eventually, hunt, metric, pack, path,
    publish, run, sign, subscribed, unix, unpack, user,
)


async def events_come_once_in_order():
    subscription = await subscribed(await connected(), hunt())
    await publish(subscription.channel, 1, 1000)
    await subscription.log.exactly(1, 1000)


async def tokens_that_do_not_let_in():
    for token, wanted in [("nonsense", 3500), (sign({"sub": "x"}, "another"), 3500), ("", 3501)]:
        made = client(token=token)
        heard = Heard(made, "disconnected")
        await made.connect()
        assert (await heard.nth(1)).code == wanted


async def tokens_are_renewed():
    asked = [0, 0]
    name = user()
    channel = hunt("closed")

    async def get_token():
        asked[0] += 1
        return sign({"sub": name, "exp": unix(3)})

    async def get_subscription_token(_channel):
        asked[1] += 1
        return sign({"sub": name, "channel": channel, "exp": unix(3)})

    made = await connected(token="", get_token=get_token)
    left = Heard(made, "connecting")
    subscription = await subscribed(made, channel, get_token=get_subscription_token)
    ended = Heard(subscription, "subscribing")
    await eventually("two more tokens of each kind", lambda: min(asked) >= 3)
    assert not left.all and not ended.all, "both outlive their first token"
    await publish(channel, 1, 3)
    await subscription.log.exactly(1, 3)


async def expired_tokens_are_replaced():
    name = user()
    channel = hunt("closed")
    asked = []

    async def get_token():
        asked.append("connection")
        return sign({"sub": name})

    async def get_subscription_token(_channel):
        asked.append("subscription")
        return sign({"sub": name, "channel": channel})

    made = await connected(token=sign({"sub": name, "exp": unix(-9)}), get_token=get_token)
    late = sign({"sub": name, "channel": channel, "exp": unix(-9)})
    await subscribed(made, channel, token=late, get_token=get_subscription_token)
    assert asked == ["connection", "subscription"], asked


async def a_player_publishes_where_it_may():
    channel = hunt()
    name = user()
    writer, reader = await connected(name), await connected()
    source, sink = await subscribed(writer, channel), await subscribed(reader, channel)
    heard = Heard(sink, "publication")
    await source.publish(pack({"n": 1}))
    pub = (await heard.nth(1)).pub
    assert (pub.offset, unpack(pub.data)) == (1, {"n": 1})
    assert (pub.info.user, pub.info.client) == (name, writer.id)
    assert await code(writer.publish(hunt("quiet"), pack({"n": 2}))) == 103
    assert await code(writer.publish("nowhere:x", pack({"n": 2}))) == 102


async def tags_come_along():
    subscription = await subscribed(await connected(), hunt())
    heard = Heard(subscription, "publication")
    request = cent.PublishRequest(channel=subscription.channel, data={}, tags={"level": "hard"})
    await api().publish(request)
    assert dict((await heard.nth(1)).pub.tags) == {"level": "hard"}


async def presence_and_who_comes_and_goes():
    channel = hunt()
    made = await connected()
    subscription = await subscribed(made, channel)
    joins, leaves = Heard(subscription, "join"), Heard(subscription, "leave")
    name = user()
    other = await connected(token=sign({"sub": name, "info": {"team": "red"}}))
    theirs = await subscribed(other, channel)
    await eventually("a join", lambda: any(ctx.info.client == other.id for ctx in joins.all))
    clients = (await subscription.presence()).clients
    assert set(clients) == {made.id, other.id}
    assert unpack(clients[other.id].conn_info) == {"team": "red"}
    stats = await subscription.presence_stats()
    assert (stats.num_clients, stats.num_users) == (2, 2)
    await theirs.unsubscribe()
    await eventually("a leave", lambda: leaves.all)
    assert [(ctx.info.client, ctx.info.user) for ctx in leaves.all] == [(other.id, name)]
    assert (await subscription.presence_stats()).num_clients == 1


async def a_long_gap_is_streamed():
    made = await connected()
    subscription = await subscribed(made, hunt())
    await publish(subscription.channel, 1, 5)
    await subscription.log.exactly(1, 5)
    await made.disconnect()
    await publish(subscription.channel, 6, 4000)
    await made.connect()
    start = await subscription.starts.nth(2)
    assert start.recovered and start.was_recovering
    await publish(subscription.channel, 4001, 4100)
    await subscription.log.exactly(1, 4100)


async def what_is_gone_is_said():
    made = await connected()
    subscription = await subscribed(made, hunt("short"))
    await publish(subscription.channel, 1, 3)
    await subscription.log.exactly(1, 3)
    await made.disconnect()
    await publish(subscription.channel, 4, 30)
    await made.connect()
    start = await subscription.starts.nth(2)
    assert (start.was_recovering, start.recovered, start.stream_position.offset) == (True, False, 30)
    await publish(subscription.channel, 31, 31)
    await eventually("the live one", lambda: subscription.log.events[-1] == (31, 31))
    assert len(subscription.log.events) == 4


async def a_position_is_taken():
    name = user()
    made = await connected(name)
    now = unix(0) * 1000
    there = [{"lat": 59.43, "lon": 24.75, "t": now + after, "accuracy": 4.5} for after in range(3)]
    await made.rpc("position", pack({"position": there[0]}))
    await made.rpc("position", pack({"positions": there[1:]}))
    await eventually("three points", lambda: path(name) == there)


async def a_storm_of_reconnects_loses_nothing():
    channel = hunt()
    players = [await connected() for _ in range(15)]
    subscriptions = [await subscribed(made, channel) for made in players]
    over = False

    async def storm():
        while not over:
            cut(random.choice(players))
            await asyncio.sleep(0.01)

    storming = asyncio.ensure_future(storm())
    for first in range(1, 2001, 20):
        await publish(channel, first, first + 19)
        await asyncio.sleep(0.03)
    over = True
    await storming
    for made in players:
        cut(made)
    await publish(channel, 2001, 2100)
    for subscription in subscriptions:
        await subscription.log.exactly(1, 2100)


async def server_side_subscriptions():
    channel, other = hunt(), hunt()
    name = user()
    made = client(token=sign({"sub": name, "channels": [channel]}))
    heard, gone = Heard(made, "subscribed"), Heard(made, "unsubscribed")
    log = Log(made, channel)
    await made.connect()
    assert (await heard.nth(1)).channel == channel
    await publish(channel, 1, 20)
    await log.exactly(1, 20)
    cut(made)
    await publish(channel, 21, 40)
    await log.exactly(1, 40)
    await api().subscribe(cent.SubscribeRequest(user=name, channel=other))
    await eventually("the other", lambda: heard.all[-1].channel == other)
    await api().unsubscribe(cent.UnsubscribeRequest(user=name, channel=other))
    await eventually("its end", lambda: [ctx.channel for ctx in gone.all] == [other])


async def codes_decide_who_comes_back():
    for number, comes_back in [(4000, True), (3001, True), (3600, False), (4500, False)]:
        name = user()
        made = await connected(name)
        left, ended = Heard(made, "connecting"), Heard(made, "disconnected")
        why = cent.Disconnect(code=number, reason="because")
        await api().disconnect(cent.DisconnectRequest(user=name, disconnect=why))
        ctx = await (left if comes_back else ended).nth(1)
        assert (ctx.code, ctx.reason) == (number, "because")
        if comes_back:
            await made.connections.nth(2)


async def a_slow_reader_is_cut_and_recovers():
    made = await connected()
    subscription = await subscribed(made, hunt())
    left = Heard(made, "connecting")
    connection = made._conn
    connection.transport.pause_reading()
    before = await metric("session_slow")
    last = 0
    # Past what the kernels' buffers and client.lag_bytes_max hold together.
    while await metric("session_slow") == before:
        assert last < 20_000, "it is given up"
        await publish(subscription.channel, last + 1, last + 200, "x" * 4000)
        last += 200
    connection.transport.resume_reading()
    await left.nth(1)
    await publish(subscription.channel, last + 1, last + 100)
    await subscription.log.exactly(1, last + 100)


scenarios = {
    name: scenario
    for name, scenario in globals().items()
    if asyncio.iscoroutinefunction(scenario) and scenario.__module__ == __name__
}
asyncio.run(run(scenarios))
