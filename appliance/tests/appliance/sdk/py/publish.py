"""A backend on cent: publishes {"n": FROM} to {"n": TO} and prints how many were acknowledged.

Usage: publish.py URL KEY CHANNEL FROM TO
"""

import sys
import time

from cent import Client, PublishRequest

url, key, channel, first, last = sys.argv[1:]
client = Client(url, key)
count = 0
for number in range(int(first), int(last) + 1):
    result = client.publish(PublishRequest(channel=channel, data={"n": number}))
    assert result.offset == number, result
    count += 1
    time.sleep(0.001)
print(count)
