"""Crash through three frames and report it with sentry-sdk, as an ordinary program would.

    crash.py DSN [--release R] [--environment E] [--message TEXT] [--times N]

Prints one JSON line per event: {"event_id": "<32 hex>", "type": "ZeroDivisionError"}. When the SDK had to drop
events or could not send them in ten seconds: a line {"lost": [reasons]} and exit status 1.
"""

import argparse
import json
import sys
import time

import sentry_sdk

PATIENCE = 10


def split_bill(total, guests):
    return total / guests


def close_table(table):
    return split_bill(table["total"], len(table["guests"]))


def serve(tables):
    return [close_table(table) for table in tables]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("--release")
    parser.add_argument("--environment")
    parser.add_argument("--message", help="raise RuntimeError with this text instead of dividing by zero")
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()

    sentry_sdk.init(dsn=options.dsn, release=options.release, environment=options.environment)
    client = sentry_sdk.get_client()
    lost = []
    client.transport.on_dropped_event = lambda reason, *_: lost.append(reason)
    for _ in range(options.times):
        try:
            if options.message:
                raise RuntimeError(options.message)
            serve([{"total": 4200, "guests": []}])
        except (ZeroDivisionError, RuntimeError) as error:
            event_id = sentry_sdk.capture_exception(error)
            print(json.dumps({"event_id": event_id, "type": type(error).__name__}), flush=True)

    began = time.monotonic()
    client.flush(timeout=PATIENCE)
    if time.monotonic() - began >= PATIENCE:
        lost.append(f"still sending after {PATIENCE} s")
    if lost:
        print(json.dumps({"lost": lost}))
        sys.exit(1)


if __name__ == "__main__":
    main()
