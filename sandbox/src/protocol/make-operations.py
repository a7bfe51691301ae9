#!/usr/bin/env python3
"""Reduce Bitbucket's OpenAPI document to the scope table of the sandbox.

Usage: make-operations.py <openapi.json> > src/protocol/operations.tsv

One line per operation: method, path, classic scopes, granular scopes, marks. Scopes are joined by
commas; the suffix `:bitbucket` of granular ones is dropped. Marks: F a Forge app may call it, T an
API token may, D it is deprecated.
"""
import json
import sys

METHODS = ("get", "put", "post", "delete")


def scopes(rules, key):
    return sorted({scope for rule in rules for scope in rule.get(key, [])})


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        document = json.load(source)
    for path, item in sorted(document["paths"].items()):
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            classic = scopes(operation.get("security", []), "oauth2")
            current = [r for r in operation.get("x-atlassian-oauth2-scopes", []) if r.get("state") == "Current"]
            granular = [s.removesuffix(":bitbucket") for s in scopes(current, "scopes")]
            kinds = operation.get("x-atlassian-auth-types", [])
            marks = ("F" if "forge-oauth2" in kinds else "") + ("T" if "api-token" in kinds else "")
            marks += "D" if operation.get("deprecated") else ""
            print("\t".join([method.upper(), path, ",".join(classic), ",".join(granular), marks]))


if __name__ == "__main__":
    main()
