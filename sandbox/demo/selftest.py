"""Does the demo hold together? Run with the Python that has sentry-sdk: selftest.py

Builds the history twice, runs the shop at its last commit against a small intake, applies the ready fix and runs
it again. Ends with a line that counts.
"""

import gzip
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = "988b13d6aa851ad250fccfb37e088d2ea8ac1b46"


class Intake(http.server.BaseHTTPRequestHandler):
    """Keeps the events it is sent."""

    events = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        _, *items = body.split(b"\n")
        for header, payload in zip(items[::2], items[1::2]):
            if json.loads(header)["type"] == "event":
                self.events.append(json.loads(payload))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        """Quiet."""


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def git(repo, *arguments):
    return run("git", "-C", repo, "-c", "user.name=Demo", "-c", "user.email=demo@example.com", *arguments)


def traffic(repo, *arguments):
    """What the intake got, and what the script said and how it ended."""
    Intake.events.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Intake)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    dsn = f"http://{'0' * 32}@127.0.0.1:{server.server_address[1]}/1"
    script = os.path.join(HERE, "traffic.py")
    done = subprocess.run(
        [sys.executable, script, "--repo", repo, "--dsn", dsn, *arguments], stdout=subprocess.PIPE, text=True
    )
    server.shutdown()
    server.server_close()
    return list(Intake.events), [json.loads(line) for line in done.stdout.splitlines()], done.returncode


def crash_site(event):
    exception = event["exception"]["values"][-1]
    frame = exception["stacktrace"]["frames"][-1]
    return exception["type"], frame["filename"], frame["function"]


class Demo:
    def __init__(self, folder):
        self.folder = folder
        self.repo = os.path.join(folder, "shop")

    def test_two_builds_give_the_same_commits(self):
        history = os.path.join(HERE, "history.sh")
        heads = [run(history, self.repo).strip(), run(history, os.path.join(self.folder, "again")).strip()]
        assert heads == [HEAD, HEAD], heads

    def test_the_history_is_believable(self):
        authors = set(git(self.repo, "log", "--format=%an").split("\n")) - {""}
        merges = git(self.repo, "log", "--merges", "--format=%h").split()
        renames = git(self.repo, "log", "--diff-filter=R", "--name-status", "--format=").strip()
        assert len(authors) == 4, authors
        assert len(merges) == 2, merges
        assert renames.endswith("shop/prices.py\tshop/pricing.py"), renames

    def test_real_requests_crash_the_shop_and_are_reported(self):
        events, lines, status = traffic(self.repo)
        assert status == 0, lines
        assert [event["event_id"] for event in events] == [line["event"] for line in lines[:-1]]
        counts = {}
        for event in events:
            counts[crash_site(event)] = counts.get(crash_site(event), 0) + 1
            assert event["release"] == "shop@1.4.0" and event["environment"] == "production", event
        assert counts == {
            ("ZeroDivisionError", "shop/pricing.py", "share"): 7,
            ("KeyError", "shop/shipping.py", "cost"): 4,
            ("IntegrityError", "shop/checkout.py", "take_from_stock"): 2,
        }, counts

    def test_the_release_before_had_no_voucher_crash(self):
        _, lines, status = traffic(self.repo, "--commit", "v1.3.0", "--voucher", "1", "--country", "0", "--stock", "0")
        assert status == 1 and lines[-1]["crashed"] == {}, lines

    def test_the_culprit_wrote_the_line_that_crashed(self):
        blame = git(self.repo, "blame", "--porcelain", "-L", "/goods =/,+1", "shop/pricing.py")
        assert "author Priya Haldane" in blame and "summary Keep vouchers off gift cards" in blame, blame

    def test_the_fix_applies_and_fixes(self):
        git(self.repo, "apply", os.path.join(HERE, "fix.patch"))
        git(self.repo, "commit", "--quiet", "--all", "--message", "Leave a voucher unused on gift cards alone")
        run(sys.executable, "-m", "unittest", "discover", "-s", "tests", "-t", ".", cwd=self.repo)
        _, lines, status = traffic(self.repo, "--commit", "HEAD", "--voucher", "3", "--country", "1", "--stock", "1")
        assert status == 1 and lines[-1]["crashed"] == {"country": 1, "stock": 1}, lines


def main():
    failed = 0
    tests = [name for name in vars(Demo) if name.startswith("test_")]
    with tempfile.TemporaryDirectory(prefix="tracebucket-demo-") as folder:
        demo = Demo(folder)
        for name in tests:
            try:
                getattr(demo, name)()
                print(f"ok {name}")
            except (AssertionError, subprocess.CalledProcessError) as error:
                failed += 1
                print(f"not ok {name}: {error}")
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
