"""A player on centrifuge-python: prints what happens to it, one line each, until it is killed.

Usage: player.py json|protobuf URL TOKEN CHANNEL
"""

import asyncio
import json
import sys

from centrifuge import Client, ClientEventHandler, SubscriptionEventHandler


protocol, url, token, channel = sys.argv[1:]
PROTOBUF = protocol == "protobuf"


def say(*words):
    print(*words, flush=True)


class OfClient(ClientEventHandler):
    async def on_connecting(self, ctx):
        say("connecting", ctx.code)

    async def on_connected(self, ctx):
        say("connected")

    async def on_disconnected(self, ctx):
        say("disconnected", ctx.code)


class OfSubscription(SubscriptionEventHandler):
    async def on_subscribed(self, ctx):
        say("subscribed", "recovered" if ctx.recovered else "fresh")

    async def on_unsubscribed(self, ctx):
        say("unsubscribed", ctx.code)

    async def on_publication(self, ctx):
        # In Protobuf data are bytes.
        data = json.loads(ctx.pub.data) if PROTOBUF else ctx.pub.data
        say("event", ctx.pub.offset, data["n"])


async def main():
    # The default gives a silent server ten seconds; the test would wait as long.
    options = {"token": token, "max_server_ping_delay": 1.0, "use_protobuf": PROTOBUF}
    client = Client(url, events=OfClient(), **options)
    subscription = client.new_subscription(channel, events=OfSubscription())
    await client.connect()
    await subscription.subscribe()
    await asyncio.Event().wait()


asyncio.run(main())
