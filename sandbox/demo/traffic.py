"""Run the shop at one commit and use it as customers do, so that it crashes and reports.

    traffic.py --repo DIR --dsn DSN [--commit v1.4.0] [--environment production]
               [--voucher N] [--country N] [--stock N]

Takes the sources of that commit out of the repository, starts the service with SENTRY_DSN set, sends real HTTP
requests, and stops it. What happens is the shop's own doing: nothing here raises or reports anything.

Prints one JSON line per request that crashed, {"event", "kind", "path"}, then a summary line,
{"served", "crashed": {kind: count}}. Exits with 1 when a count is not the one asked for.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request


class Shop:
    """The running service, and what it answered."""

    def __init__(self, folder, dsn, environment):
        self.served = 0
        self.crashed = collections.Counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "shop", "--port", "0", "--db", os.path.join(folder, "shop.db")],
            cwd=folder,
            env={**os.environ, "SENTRY_DSN": dsn, "SHOP_ENVIRONMENT": environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        line = self.process.stdout.readline()
        if "listens on" not in line:
            raise SystemExit("traffic.py: the shop did not start")
        self.base = line.split()[-1]

    def stop(self):
        """End the service; it hands over what it still has to report first."""
        self.process.terminate()
        self.process.wait(timeout=20)

    def call(self, kind, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data=data, method=method)
        self.served += 1
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            answer = json.load(error)
            if error.code == 500:
                self.crashed[kind] += 1
                print(json.dumps({"event": answer.get("event"), "kind": kind, "path": path}), flush=True)
            return answer

    def cart(self, **quantities):
        """A new cart with these items; an item's underscores stand for dashes."""
        cart = self.call("cart", "POST", "/carts", {})["id"]
        for sku, quantity in quantities.items():
            self.call("cart", "POST", f"/carts/{cart}/lines", {"sku": sku.replace("_", "-"), "quantity": quantity})
        return cart

    def order(self, kind, cart, name, country="DE"):
        return self.call(kind, "POST", f"/carts/{cart}/order", {"name": name, "country": country})


def buy_gift_card_with_voucher(shop, n):
    cart = shop.cart(gift_25=1 + n % 2)
    shop.call("voucher", "POST", f"/carts/{cart}/voucher", {"code": "HELLO5"})
    shop.order("voucher", cart, f"customer {n}")


def send_far_away(shop, n):
    cart = shop.cart(mug=1 + n % 3)
    shop.order("country", cart, f"customer {n}", country=("CH", "CH", "NO")[n % 3])


def buy_more_than_there_is(shop, n):
    cart = shop.cart(chair=3)
    shop.order("stock", cart, f"customer {n}")


def good_day(shop):
    """Orders that go well, so that the shop is not only broken."""
    shop.call("ok", "GET", "/products")
    shop.order("ok", shop.cart(mug=2, gift_50=1), "customer one")
    cart = shop.cart(lamp=1)
    shop.call("ok", "POST", f"/carts/{cart}/voucher", {"code": "AUTUMN10"})
    shop.order("ok", cart, "customer two", country="FR")


def unpack(repo, commit, folder):
    with subprocess.Popen(["git", "-C", repo, "archive", commit], stdout=subprocess.PIPE) as archive:
        subprocess.run(["tar", "-x", "-C", folder], stdin=archive.stdout, check=True)
    if archive.returncode != 0:
        raise SystemExit(f"traffic.py: {repo} has no commit {commit}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repo", required=True)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--commit", default="v1.4.0")
    parser.add_argument("--environment", default="production")
    parser.add_argument("--voucher", type=int, default=7, help="crashes by a voucher on gift cards alone")
    parser.add_argument("--country", type=int, default=4, help="crashes by a country without a rate")
    parser.add_argument("--stock", type=int, default=2, help="crashes by an order larger than the stock")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory(prefix="tracebucket-shop-") as folder:
        unpack(options.repo, options.commit, folder)
        shop = Shop(folder, options.dsn, options.environment)
        try:
            good_day(shop)
            for customer, count in (
                (buy_gift_card_with_voucher, options.voucher),
                (send_far_away, options.country),
                (buy_more_than_there_is, options.stock),
            ):
                for n in range(count):
                    customer(shop, n)
        finally:
            shop.stop()

    wanted = {"voucher": options.voucher, "country": options.country, "stock": options.stock}
    print(json.dumps({"served": shop.served, "crashed": dict(shop.crashed)}))
    # Subtraction both ways leaves nothing only when the counts are equal.
    wanted = collections.Counter(wanted)
    return 1 if wanted - shop.crashed or shop.crashed - wanted else 0


if __name__ == "__main__":
    sys.exit(main())
