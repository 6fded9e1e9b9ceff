"""A backend on cent calls every method of the server API, its synchronous and its asynchronous client, and
looks at status codes and error bodies.

Usage: backend.py json GAME_URL ADMIN_URL API_KEY TOKEN_SECRET [NAME...] [-NAME...], as scenarios.py.
"""

import asyncio

import cent
import requests
from kit import ADMIN, KEY, Heard, api, connected, eventually, hunt, publish, run, subscribed, user

sync = cent.Client(f"{ADMIN}/api", KEY)


async def refused(request, number, message):
    """That both clients get this error for it."""
    def send(client):
        return getattr(client, request.api_method)(request)

    for answer in (asyncio.to_thread(send, sync), send(api())):
        try:
            result = await answer
        except cent.CentApiResponseError as error:
            assert (error.code, error.message) == (number, message), error
        else:
            raise AssertionError(f"{request!r} gave {result!r}")


async def publish_and_history():
    channel = hunt()
    first = sync.publish(cent.PublishRequest(channel=channel, data={"n": 1}, tags={"a": "b"}))
    second = await api().publish(cent.PublishRequest(channel=channel, data="two"))
    assert (first.offset, second.offset) == (1, 2) and first.epoch == second.epoch
    fleeting = cent.PublishRequest(channel=channel, data=0, skip_history=True)
    assert (await api().publish(fleeting)).offset == 0
    once = cent.PublishRequest(channel=channel, data={"n": 3}, idempotency_key="once")
    assert [sync.publish(once).offset, (await api().publish(once)).offset] == [3, 3]
    everything = sync.history(cent.HistoryRequest(channel=channel, limit=-1))
    assert [(pub.offset, pub.data) for pub in everything.publications] == [
        (1, {"n": 1}), (2, "two"), (3, {"n": 3}),
    ]
    assert everything.publications[0].tags == {"a": "b"}
    assert (everything.offset, everything.epoch) == (3, first.epoch)

    def offsets(**options):
        page = sync.history(cent.HistoryRequest(channel=channel, **options))
        assert page.offset == 3
        return [pub.offset for pub in page.publications]

    since = cent.StreamPosition(offset=2, epoch=first.epoch)
    assert offsets() == []
    assert offsets(limit=2) == [1, 2]
    assert offsets(limit=5, since=since) == [3]
    assert offsets(limit=2, reverse=True) == [3, 2]
    assert offsets(limit=5, since=since, reverse=True) == [1]
    wrong = cent.StreamPosition(offset=1, epoch="another")
    request = cent.HistoryRequest(channel=channel, limit=1, since=wrong)
    await refused(request, 112, "unrecoverable position")
    sync.history_remove(cent.HistoryRemoveRequest(channel=channel))
    assert offsets(limit=-1) == []
    assert (await api().publish(cent.PublishRequest(channel=channel, data=4))).offset == 4
    await refused(cent.HistoryRequest(channel=hunt("bare"), limit=1), 108, "not available")


async def errors_name_the_fault():
    await refused(cent.PublishRequest(channel="nowhere:x", data={}), 102, "unknown channel")
    await refused(cent.PublishRequest(channel="", data={}), 107, "bad request")
    await refused(cent.BroadcastRequest(channels=[], data={}), 107, "bad request")
    await refused(cent.PresenceRequest(channel=hunt("bare")), 108, "not available")
    await refused(cent.PresenceStatsRequest(channel=hunt("bare")), 108, "not available")
    for request in (
        cent.HistoryRequest(channel="nowhere:x"),
        cent.HistoryRemoveRequest(channel="nowhere:x"),
        cent.PresenceRequest(channel="nowhere:x"),
        cent.SubscribeRequest(user="x", channel="nowhere:x"),
        cent.UnsubscribeRequest(user="x", channel="nowhere:x"),
    ):
        await refused(request, 102, "unknown channel")
    stranger = cent.Client(f"{ADMIN}/api", "wrong")
    try:
        stranger.info(cent.InfoRequest())
    except cent.CentUnauthorizedError:
        pass
    else:
        raise AssertionError("a wrong key is 401")


async def statuses_and_bodies():
    """Below cent, with the HTTP library it uses: what it hides."""
    url = f"{ADMIN}/api"
    session = requests.Session()
    session.headers["X-API-Key"] = KEY

    def ask(method, body, **headers):
        answer = session.post(f"{url}/{method}", data=body, headers=headers)
        kind = answer.headers["content-type"].split(";")[0]
        return answer.status_code, answer.json() if kind == "application/json" else None

    unknown = '{"channel":"nowhere:x","data":1}'
    error = {"code": 102, "message": "unknown channel"}
    assert ask("publish", unknown) == (200, {"error": error})
    mode = {"X-Centrifugo-Error-Mode": "transport"}
    assert ask("publish", unknown, **mode) == (404, error)
    assert ask("publish", '{"data":1}', **mode) == (400, {"code": 107, "message": "bad request"})
    assert ask("no_such_method", "{}")[0] == 404 or ask("no_such_method", "{}")[1]["error"]["code"] == 104
    assert ask("publish", "{")[0] == 400
    assert session.get(f"{url}/publish").status_code == 405
    for way in (
        {"headers": {"Authorization": f"apikey {KEY}"}},
        {"params": {"api_key": KEY}},
    ):
        assert requests.post(f"{url}/info", data="{}", **way).status_code == 200
    assert requests.post(f"{url}/info", data="{}").status_code == 401
    assert ask("unsubscribe", '{"user":"nobody","channel":"full:x"}') == (200, {"result": {}})


async def broadcast_and_batch():
    channels = [hunt(), hunt()]
    result = sync.broadcast(cent.BroadcastRequest(channels=channels, data={"n": 1}))
    assert [response.result.offset for response in result.responses] == [1, 1]
    mixed = [channels[0], "nowhere:x"]
    result = await api().broadcast(cent.BroadcastRequest(channels=mixed, data={"n": 2}))
    assert result.responses[0].result.offset == 2
    assert result.responses[1].error.code == 102
    requests_ = [
        cent.PublishRequest(channel=channels[0], data={"n": 3}),
        cent.HistoryRequest(channel=channels[0], limit=-1),
        cent.PresenceStatsRequest(channel=channels[0]),
        cent.InfoRequest(),
    ]
    for parallel in (False, True):
        replies = sync.batch(cent.BatchRequest(requests=requests_, parallel=parallel)).replies
        published, history, stats, info = replies
        assert published.offset == 3 + parallel
        assert parallel or [pub.offset for pub in history.publications] == [1, 2, 3]
        assert (stats.num_clients, len(info.nodes)) == (0, 1)


async def who_is_there():
    channel = hunt()
    name = user()
    made, other = await connected(name), await connected(name)
    await subscribed(made, channel)
    await subscribed(other, channel)
    presence = sync.presence(cent.PresenceRequest(channel=channel)).presence
    assert set(presence) == {made.id, other.id}
    assert {info.user for info in presence.values()} == {name}
    stats = await api().presence_stats(cent.PresenceStatsRequest(channel=channel))
    assert (stats.num_clients, stats.num_users) == (2, 1)
    empty = sync.presence(cent.PresenceRequest(channel=hunt())).presence
    assert empty == {}
    prefix = channel[:-2]
    channels = sync.channels(cent.ChannelsRequest(pattern=f"{prefix}*")).channels
    assert channels[channel].num_clients == 2, channels
    assert channel in sync.channels(cent.ChannelsRequest()).channels
    assert sync.channels(cent.ChannelsRequest(pattern="no such*")).channels == {}
    # Its numbers are gauges, a moment old; who was there before leaves in its own time.
    info = cent.InfoRequest()

    def counted():
        node = sync.info(info).nodes[0]
        return (node.num_clients, node.num_channels > 0, node.num_subs) == (2, True, 2)

    await eventually("two clients with a subscription each", counted)
    (node,) = sync.info(info).nodes
    assert node.uid and node.name and node.version


async def subscribe_and_unsubscribe():
    name, channel = user(), hunt()
    made, other = await connected(name), await connected(name)
    await publish(channel, 1, 5)
    heard = [Heard(each, "subscribed") for each in (made, other)]
    gone = [Heard(each, "unsubscribed") for each in (made, other)]
    override = cent.ChannelOptionsOverride(presence=cent.BoolValue(value=True))
    request = cent.SubscribeRequest(
        user=name, channel=channel, client=made.id, info={"by": "backend"}, data={"x": 1}, override=override
    )
    sync.subscribe(request)
    ctx = await heard[0].nth(1)
    assert (ctx.channel, ctx.data, ctx.stream_position.offset) == (channel, {"x": 1}, 5)
    presence = sync.presence(cent.PresenceRequest(channel=channel)).presence
    assert presence[made.id].chan_info == {"by": "backend"}
    assert not heard[1].all, "only that client"
    await api().subscribe(cent.SubscribeRequest(user=name, channel=channel))
    await heard[1].nth(1)
    sync.unsubscribe(cent.UnsubscribeRequest(user=name, channel=channel))
    for each in gone:
        assert (await each.nth(1)).channel == channel
    assert sync.presence_stats(cent.PresenceStatsRequest(channel=channel)).num_clients == 0


async def subscribe_with_recovery():
    name, channel = user(), hunt()
    made = await connected(name)
    await publish(channel, 1, 9)
    position = sync.history(cent.HistoryRequest(channel=channel))
    since = cent.StreamPosition(offset=6, epoch=position.epoch)
    heard = Heard(made, "publication")
    sync.subscribe(cent.SubscribeRequest(user=name, channel=channel, recover_since=since))
    await heard.nth(3)
    assert [ctx.pub.offset for ctx in heard.all] == [7, 8, 9]


async def disconnect_and_refresh():
    name = user()
    kept, other = await connected(name), await connected(name)
    ended = Heard(other, "disconnected")
    sync.disconnect(cent.DisconnectRequest(user=name, whitelist=[kept.id]))
    assert (await ended.nth(1)).code == 3503
    assert kept.state.value == "connected"
    ended = Heard(kept, "disconnected")
    why = cent.Disconnect(code=4600, reason="enough")
    await api().disconnect(cent.DisconnectRequest(user=name, client=kept.id, disconnect=why))
    ctx = await ended.nth(1)
    assert (ctx.code, ctx.reason) == (4600, "enough")
    # Without a way to renew its token, "expired" ends a connection.
    made = await connected(name)
    left = Heard(made, "connecting")
    sync.refresh(cent.RefreshRequest(user=name, expired=True))
    assert (await left.nth(1)).code == 3005
    sync.refresh(cent.RefreshRequest(user="nobody"))


scenarios = {
    name: scenario
    for name, scenario in globals().items()
    if asyncio.iscoroutinefunction(scenario)
    and scenario.__module__ == __name__
    and scenario is not refused
}
asyncio.run(run(scenarios))
