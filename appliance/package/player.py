"""A player of the package's test: player.py ADDRESS PORT TEXT connects over WebSocket, subscribes to the
hunt "hunt" and ends well when an event with TEXT comes within ten seconds. Standard library only."""

import json
import os
import socket
import struct
import sys

address, port, wanted = sys.argv[1], int(sys.argv[2]), sys.argv[3]
stream = socket.create_connection((address, port), timeout=10)
stream.settimeout(10)
stream.sendall(
    f"GET /connection/websocket HTTP/1.1\r\nHost: {address}:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
)
buffer = b""


def take(count):
    """The next bytes from the connection."""
    global buffer
    while len(buffer) < count:
        more = stream.recv(4096)
        if not more:
            sys.exit("the connection was closed")
        buffer += more
    taken, buffer = buffer[:count], buffer[count:]
    return taken


def frame():
    """The payload of the next frame (RFC 6455 section 5.2); a server's is not masked."""
    _, length = take(2)
    if length == 126:
        (length,) = struct.unpack("!H", take(2))
    return take(length)


def send(command):
    """One command as a masked text frame; shorter than 126 bytes."""
    payload = json.dumps(command).encode()
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    stream.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + masked)


while not buffer.endswith(b"\r\n\r\n"):
    buffer += stream.recv(1)
status = buffer.split(b"\r\n")[0]
if b" 101 " not in status:
    sys.exit(f"no upgrade: {status!r}")
buffer = b""
send({"id": 1, "connect": {}})
send({"id": 2, "subscribe": {"channel": "hunt"}})
while True:
    for line in frame().splitlines():
        reply = json.loads(line)
        if "error" in reply:
            sys.exit(f"refused: {reply}")
        if reply.get("push", {}).get("pub", {}).get("data") == wanted:
            sys.exit(0)
