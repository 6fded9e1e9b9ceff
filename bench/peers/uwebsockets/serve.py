"""The service on uWebSockets: connect, subscribe, pushes, POST /api/publish; all on one port and one loop.

Python runs once for each command and publish; the fan-out to a topic's subscribers is uWebSockets' own.
"""

import json
import sys

from socketify import App, AppListenOptions, CompressOptions, OpCode

PING_SECONDS = 25
offsets = {}


def on_message(ws, message, _opcode):
    replies = []
    for line in message.split("\n"):
        if line == "{}":
            continue
        command = json.loads(line)
        if "connect" in command:
            answer = {"connect": {"client": "uws", "ping": PING_SECONDS, "pong": False}}
        else:
            name = command["subscribe"]["channel"]
            ws.subscribe(name)
            answer = {"subscribe": {"epoch": "uws", "offset": offsets.get(name, 0)}}
        replies.append(json.dumps({"id": command["id"], **answer}))
    if replies:
        ws.send("\n".join(replies), OpCode.TEXT)


async def publish(res, _req):
    body = bytes((await res.get_data()).getvalue())
    # The bytes of "data" go out as they came, so they are cut out, not parsed.
    head, data = body[:-1].split(b',"data":', 1)
    name = json.loads(head + b"}")["channel"]
    offset = offsets.get(name, 0) + 1
    offsets[name] = offset
    event = b'{"push":{"channel":%s,"pub":{"data":%s,"offset":%d}}}'
    app.publish(name, event % (json.dumps(name).encode(), data, offset), OpCode.TEXT)
    res.write_header("Content-Type", "application/json")
    res.end(json.dumps({"result": {"offset": offset, "epoch": "uws"}}))


host, port = sys.argv[1].rsplit(":", 1)
app = App()
app.ws(
    "/connection/websocket",
    {
        "compression": CompressOptions.DISABLED,
        "max_backpressure": 16 * 1024 * 1024,
        "close_on_backpressure_limit": True,
        "idle_timeout": 960,
        "message": on_message,
    },
)
app.get("/health", lambda res, _req: res.end("ok"))
app.post("/api/publish", publish)
app.listen(AppListenOptions(port=int(port), host=host), lambda _: None)
app.run()
