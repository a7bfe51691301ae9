"""Start the product and the Bitbucket stand-in, fill both with a believable team, and say what to try.

Run by run.sh. Everything goes through the doors that a real team uses: the admin command line, the Connect
handshake, `git push`, an SDK in a crashing program, and `/api/0`. The data folder is kept: a second run starts
what the first one left, a half-filled folder is filled anew.
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
MARKER = ".tracebucket-demo"
EMAIL = "owner@acme.example"
SCOPES = "org:read,org:integrations,project:read,project:releases,event:read,event:write"


class Problem(Exception):
    """Something a person can act on; printed without a traceback."""


class Demo:
    def __init__(self, programs, data, port, sandbox_port):
        self.data = data
        self.programs = os.path.abspath(programs)
        self.product = f"http://127.0.0.1:{port}"
        self.bitbucket = f"http://127.0.0.1:{sandbox_port}"
        self.ports = {"DEMO_PORT": port, "DEMO_SANDBOX_PORT": sandbox_port}
        self.children = []
        self.token = None
        # Nobody's own settings leak into the demo, nor a proxy between three programs on one machine.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("TRACEBUCKET_")}
        self.env |= {
            "TRACEBUCKET_LISTEN": f"127.0.0.1:{port}",
            "TRACEBUCKET_PUBLIC_URL": self.product,
            "TRACEBUCKET_DATABASE_URL": f"sqlite://{data}/tracebucket/tracebucket.db",
            "TRACEBUCKET_BITBUCKET_API_URL": self.bitbucket,
            "TRACEBUCKET_BITBUCKET_WEB_URL": self.bitbucket,
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "GIT_TERMINAL_PROMPT": "0",
        }
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    # The two programs.

    def program(self, name):
        return os.path.join(self.programs, name)

    def start(self, name, *arguments):
        log = open(self.log(name), "a", encoding="utf-8")
        # Its own session: Ctrl-C reaches us alone, and we end both in order.
        child = subprocess.Popen(
            [self.program(name), *arguments],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.children.append((name, child))

    def log(self, name):
        return os.path.join(self.data, "logs", f"{name}.log")

    def start_both(self):
        for variable, port in self.ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    raise Problem(f"port {port} is taken; choose another: make run {variable}=…") from None
        for folder in ("logs", "sandbox", "tracebucket"):
            os.makedirs(os.path.join(self.data, folder), exist_ok=True)
        listen = self.bitbucket.removeprefix("http://")
        self.start("bitbucket-sandbox", "serve", "--listen", listen, "--data", os.path.join(self.data, "sandbox"))
        self.wait(f"{self.bitbucket}/_sandbox/state", "the Bitbucket stand-in")
        self.start("tracebucket", "serve", "--dev")
        self.wait(f"{self.product}/readyz", "Tracebucket")

    def wait(self, url, what, seconds=60):
        def up():
            with contextlib.suppress(OSError), self.opener.open(url, timeout=5) as answer:
                return answer.status == 200
            return False

        self.until(up, f"{what} did not answer 200 at {url}", seconds)

    def until(self, condition, complaint, seconds=60):
        """Wait until the condition holds; a program that ended or the time run out is a problem."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.check_alive()
            if time.monotonic() > deadline:
                raise Problem(f"{complaint}, not within {seconds} s\n{self.last_lines()}")
            time.sleep(0.1)

    def check_alive(self):
        for name, child in self.children:
            if child.poll() is not None:
                raise Problem(f"{name} ended with status {child.returncode}\n{self.last_lines()}")

    def last_lines(self):
        text = []
        for name, _ in self.children:
            with open(self.log(name), encoding="utf-8", errors="replace") as log:
                text.append(f"--- last lines of {self.log(name)}\n{''.join(log.readlines()[-15:])}")
        return "\n".join(text)

    def stop(self):
        """End what we started, the product first, each by its own process id."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for _, child in reversed(self.children):
            if child.poll() is None:
                child.terminate()
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    # Calls.

    def run(self, what, *command, stdin="", **options):
        done = subprocess.run(
            command, env=self.env, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        if done.returncode != 0:
            raise Problem(f"{what} failed: {' '.join(command)}\n{done.stdout}{done.stderr}\n{self.last_lines()}")
        return done.stdout.strip()

    def admin(self, *arguments, stdin=""):
        return self.run("the admin command", self.program("tracebucket"), "admin", *arguments, stdin=stdin)

    def call(self, method, url, body=None):
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        if url.startswith(self.product):
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(url, data=data, method=method, headers=headers)
        try:
            with self.opener.open(request, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")[:1000]
            raise Problem(f"{method} {url} answered {error.code}: {text}\n{self.last_lines()}") from None
        except OSError as error:
            raise Problem(f"{method} {url}: {error}\n{self.last_lines()}") from None

    # The story so far.

    def fill(self):
        """From two empty programs to a team with errors. Answers the login."""
        password = secrets.token_urlsafe(12)
        self.admin("org", "create", "--slug", "acme", "--name", "Acme")
        project = json.loads(
            self.admin("project", "create", "--org", "acme", "--slug", "shop", "--platform", "python", "--json")
        )
        self.admin("user", "create", "--email", EMAIL, "--org", "acme", "--role", "owner", stdin=f"{password}\n")
        self.token = self.admin("token", "create", "--org", "acme", "--name", "demo", "--scopes", SCOPES)

        say("installing the app on workspace acme")
        for slug, name in (("acme", "Acme"), ("globex", "Globex")):
            self.call("POST", f"{self.bitbucket}/_sandbox/workspaces", {"slug": slug, "name": name})
        self.call(
            "POST", f"{self.bitbucket}/_sandbox/repos", {"workspace": "acme", "slug": "shop", "has_issues": True}
        )
        installed = self.call(
            "POST",
            f"{self.bitbucket}/_sandbox/install",
            {"workspace": "acme", "descriptor_uri": self.descriptor()},
        )
        if not 200 <= installed.get("status", 200) < 300:
            raise Problem(f"the app refused the install: {installed}\n{self.last_lines()}")
        link = json.loads(self.admin("link", "create", "--org", "acme", "--client-key", installed["clientKey"], "--json"))
        integration = str(link["integrationId"])
        self.admin("repo", "add", "--org", "acme", "--integration", integration, "--repo", "acme/shop")
        self.until(self.has_hook, "Tracebucket registered no webhook on acme/shop", 30)

        say("pushing the shop's history")
        shop = os.path.join(self.data, "shop")
        self.run("building the history", os.path.join(HERE, "history.sh"), shop)
        self.run("git push", "git", "-C", shop, "push", "--quiet", self.remote(), "main", "--tags")

        say("letting the shop crash")
        self.run(
            "the shop's traffic", sys.executable, os.path.join(HERE, "traffic.py"), "--repo", shop, "--dsn", project["dsn"]
        )
        self.until(lambda: self.counts() == [2, 4, 7], "the 13 events did not become 3 errors", 30)
        self.create_ticket("SHOP-3", integration)
        return password

    def descriptor(self):
        return f"{self.product}/extensions/bitbucket/descriptor/"

    def remote(self):
        return f"{self.bitbucket}/acme/shop.git"

    def has_hook(self):
        state = json.dumps(self.call("GET", f"{self.bitbucket}/_sandbox/state"))
        return "/extensions/bitbucket/organizations/" in state

    def errors(self):
        return self.call("GET", f"{self.product}/api/0/projects/acme/shop/issues/")

    def counts(self):
        return sorted(int(error["count"]) for error in self.errors())

    def create_ticket(self, short_id, integration):
        """What the "create issue" button of a tracker does: ask for the form, send it back."""
        found = next((error for error in self.errors() if error["shortId"] == short_id), None)
        if not found:
            raise Problem(f"there is no {short_id}: {[error['shortId'] for error in self.errors()]}")
        url = f"{self.product}/api/0/organizations/acme/issues/{found['id']}/integrations/{integration}/"
        form = self.call("GET", f"{url}?action=create")["createIssueConfig"]
        fields = {field["name"]: field["default"] for field in form if field.get("default") not in (None, "")}
        self.call("POST", url, {**fields, "repo": "acme/shop"})

    # What to tell the person.

    def welcome(self, password):
        install = urllib.parse.urlencode({"descriptor_uri": self.descriptor()})
        folder = os.path.relpath(self.data)
        folder = self.data if folder.startswith("..") else folder
        fix = os.path.join(folder, "fix")
        return f"""
  Console           {self.product}/
  Sign in           {EMAIL}   {password}

  Bitbucket         {self.bitbucket}/   (a stand-in, on real git repositories)
  Install page      {self.bitbucket}/site/addons/authorize?{install}
                    Workspace acme is linked. Workspace globex has not installed the app yet.

  The shop crashed 13 times. SHOP-1 and SHOP-2 have no ticket: open one and press "Create issue".
  SHOP-3 has its ticket already.

  Then ship the fix of SHOP-1:

    git clone {self.remote()} {fix}
    cd {fix}
    git apply {os.path.join(HERE, "fix.patch")}
    git -c user.name=Demo -c user.email=demo@example.com commit -a \\
      -m "Leave a voucher unused on gift cards alone" -m "Fixes SHOP-1"
    git push

  Logs are in {folder}/logs. Remove {folder} to begin anew. Ctrl-C stops both.
"""


def say(text):
    print(f"demo: {text}", flush=True)


def prepare(data, ports):
    """The text of an earlier complete run, or None when the folder is to be filled."""
    complete = os.path.join(data, "complete.json")
    if os.path.exists(complete):
        with open(complete, encoding="utf-8") as file:
            kept = json.load(file)
        if kept["ports"] != ports:
            settings = " ".join(f"{name}={port}" for name, port in kept["ports"].items())
            raise Problem(f"{data} was made for other ports: make run {settings}, or remove the folder")
        return kept["welcome"]
    if os.path.exists(data) and os.listdir(data):
        # Only a folder that an earlier run made may be thrown away.
        if not os.path.exists(os.path.join(data, MARKER)):
            raise Problem(f"{data} is not a demo's folder; choose another: make run DEMO_DATA=…")
        shutil.rmtree(data)
    os.makedirs(data, exist_ok=True)
    with open(os.path.join(data, MARKER), "w", encoding="utf-8"):
        return None


def keep(data, ports, welcome):
    path = os.path.join(data, "complete.json")
    # It holds the password of the demo's owner.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"ports": ports, "welcome": welcome}, file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True, help="the folder of the two built programs")
    parser.add_argument("--once", action="store_true", help="stop as soon as everything is there")
    options = parser.parse_args()
    data = os.path.abspath(os.environ.get("DEMO_DATA") or "data/demo")
    demo = Demo(
        options.programs,
        data,
        int(os.environ.get("DEMO_PORT") or 8000),
        int(os.environ.get("DEMO_SANDBOX_PORT") or 8100),
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        welcome = prepare(data, demo.ports)
        say("starting")
        demo.start_both()
        if welcome is None:
            welcome = demo.welcome(demo.fill())
            keep(data, demo.ports, welcome)
        print(welcome, flush=True)
        while not options.once:
            demo.check_alive()
            time.sleep(0.5)
    except Problem as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print()
        say("stopping")
    finally:
        demo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
