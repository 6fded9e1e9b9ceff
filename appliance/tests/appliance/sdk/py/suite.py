"""Runs the tests that centrifuge-python ships, against the server at another address than theirs.

Usage: suite.py DIRECTORY_OF_THE_SOURCE_DISTRIBUTION HOST:PORT

Of its modules only test_client goes to a server; the others bring a false one and test the SDK itself.
Its tests wait without a deadline, so each gets one here (each subtest by itself: unittest takes a
cancellation for the failure of the subtest that it hits). The last line is `N run, N failed, N
skipped`; what is skipped is named with its reason.
"""

import asyncio
import pathlib
import shutil
import sys
import tempfile
import unittest

DEADLINE_S = 20
SUBTESTS_MAX = 8


def limited(method):
    async def run():
        task = asyncio.ensure_future(method())
        for _ in range(SUBTESTS_MAX):
            done, _ = await asyncio.wait({task}, timeout=DEADLINE_S)
            if done:
                break
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            raise TimeoutError(f"more than {DEADLINE_S} s") from None

    return run


def each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def main():
    source, server = sys.argv[1:]
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(source, copy, dirs_exist_ok=True)
        for file in pathlib.Path(copy, "tests").glob("*.py"):
            file.write_text(file.read_text().replace("localhost:8000", server))
        sys.path.insert(0, copy)
        suite = unittest.defaultTestLoader.loadTestsFromName("tests.test_client")
        for test in each(suite):
            method = getattr(test, test._testMethodName, None)
            if asyncio.iscoroutinefunction(method):
                setattr(test, test._testMethodName, limited(method))
        result = unittest.TextTestRunner(verbosity=2, stream=sys.stdout).run(suite)
    bad = result.failures + result.errors
    for test, _ in bad:
        print("failed:", test)
    for test, reason in result.skipped:
        print("skipped:", test, reason)
    print(f"{result.testsRun} run, {len(bad)} failed, {len(result.skipped)} skipped")
    sys.exit(bool(bad))


main()
