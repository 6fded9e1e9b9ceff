"""What the scenarios share: clients of centrifuge-python in the protocol under test, tokens, the server
API through cent, and the record of what a subscription delivered.
"""

import asyncio
import base64
import functools
import hashlib
import hmac
import itertools
import json
import os
import sys
import time
import traceback

import cent
import requests
from centrifuge import Client, CentrifugeError

PROTOCOL, GAME, ADMIN, KEY, SECRET = sys.argv[1:6]
PROTOBUF = PROTOCOL == "protobuf"

# How long anything may take that is expected to happen.
PATIENCE_S = 15

_names = itertools.count()
_open = []


@functools.cache
def api():
    """The server API; made late, as it wants a running loop."""
    return cent.AsyncClient(f"{ADMIN}/api", KEY)


def pack(value):
    """What the SDK takes as data: an object, or in Protobuf its JSON in bytes."""
    return json.dumps(value).encode() if PROTOBUF else value


def unpack(data):
    return json.loads(data) if PROTOBUF else data


def hunt(namespace="full"):
    return f"{namespace}:py-{PROTOCOL}-{os.getpid()}-{next(_names)}"


def user():
    return f"py-{PROTOCOL}-{next(_names)}"


def sign(claims, secret=SECRET):
    def part(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    head = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    signature = hmac.new(secret.encode(), head, hashlib.sha256).digest()
    return (head + b"." + part(signature)).decode()


def unix(after):
    return int(time.time()) + after


async def eventually(what, holds):
    end = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end, f"never: {what}"
        await asyncio.sleep(0.005)


async def code(promise):
    """The code that `promise` is refused with."""
    try:
        await promise
    except CentrifugeError as error:
        return error.code
    return 0


class Heard:
    """Every context of one event of a client or subscription, in order."""

    def __init__(self, emitter, event):
        self.all = []

        async def on_event(ctx):
            self.all.append(ctx)

        setattr(emitter.events, f"on_{event}", on_event)

    async def nth(self, number):
        await eventually(f"event {number}", lambda: len(self.all) >= number)
        return self.all[number - 1]


class Log:
    """Offsets and numbers of publications."""

    def __init__(self, emitter, channel=None):
        self.events = []

        async def on_publication(ctx):
            if channel is None or ctx.channel == channel:
                self.events.append((ctx.pub.offset, unpack(ctx.pub.data)["n"]))

        emitter.events.on_publication = on_publication

    async def exactly(self, first, last):
        """Waits for the event at `last`, then for what may still come: it was first..last, each once."""
        try:
            await eventually(f"event {last}", lambda: self.events and self.events[-1][0] >= last)
        finally:
            if not self.events or self.events[-1][0] < last:
                print("the last events were", self.events[-3:])
        await asyncio.sleep(0.1)
        wanted = [(n, n) for n in range(first, last + 1)]
        wrong = next((i for i, (is_, be) in enumerate(zip(self.events, wanted)) if is_ != be), None)
        around = "" if wrong is None else self.events[max(wrong - 2, 0) : wrong + 3]
        assert wrong is None and len(self.events) == len(wanted), f"once, in order: {around}"


def client(**options):
    made = Client(
        GAME, use_protobuf=PROTOBUF, min_reconnect_delay=0.02, max_reconnect_delay=0.2, **options
    )
    _open.append(made)
    return made


async def connected(name=None, **options):
    """A client that is connected, as `name`; `made.id` and `made.user` say who it is."""
    made = client(**{"token": sign({"sub": name or user()}), **options})
    heard = Heard(made, "connected")
    await made.connect()
    made.id = (await heard.nth(1)).client
    made.connections = heard
    return made


async def subscribed(of, channel, **options):
    """An established subscription; its `log` is what it delivered, `starts` each time it began."""
    subscription = of.new_subscription(channel, **options)
    subscription.log = Log(subscription)
    subscription.starts = Heard(subscription, "subscribed")
    await subscription.subscribe()
    await subscription.starts.nth(1)
    return subscription


def cut(of):
    """Ends the connection below the SDK, which then connects again."""
    if of._conn is not None:
        of._conn.transport.abort()


def path(name):
    """The points of a user's path, its first page."""
    answer = requests.get(f"{ADMIN}/api/players/{name}/path", headers={"X-API-Key": KEY})
    return answer.json()["points"]


async def metric(name):
    """A metric, summed over the cores."""
    answer = await asyncio.to_thread(requests.get, f"{ADMIN}/metrics")
    lines = [line for line in answer.text.splitlines() if line.startswith(f"cluecast_{name}")]
    return sum(int(line.split(" ")[-1]) for line in lines)


async def publish(channel, first, last, fill=""):
    """Publishes {"n": number} for each number, whose offsets have to be the same."""
    for start in range(first, last + 1, 200):
        numbers = range(start, min(start + 200, last + 1))
        events = [
            cent.PublishRequest(channel=channel, data={"n": n, "fill": fill}) for n in numbers
        ]
        result = await api().batch(cent.BatchRequest(requests=events))
        assert [reply.offset for reply in result.replies] == list(numbers)


async def run(scenarios):
    """Runs those that the arguments name, prints how each went, and ends the program."""
    words = sys.argv[6:]
    wanted = [word for word in words if not word.startswith("-")]
    left_out = [word[1:] for word in words if word.startswith("-")]
    held = failed = 0
    for name, scenario in scenarios.items():
        if wanted and not any(word in name for word in wanted):
            continue
        if any(word in name for word in left_out):
            print("left out", name)
            continue
        start = time.monotonic()
        try:
            await scenario()
            held += 1
            print("held  ", name, f"{(time.monotonic() - start) * 1000:.0f} ms", flush=True)
        except Exception:
            failed += 1
            print("FAILED", name, traceback.format_exc(), flush=True)
        for made in _open:
            await made.disconnect()
        _open.clear()
    await api().close()
    print(f"{held} held, {failed} failed")
    sys.exit(bool(failed))
