#!/usr/bin/env python3
"""Signs one URL for Warren. The standard library is enough.

sign.py [--scheme hs256|sha256|md5] [--form query|path] [--ip ADDRESS] PATH EXPIRES [NAME=VALUE ...]

CDN_BASE_URL and CDN_SECURITY_KEY come from the environment.
"""
import argparse
import os

# docs/backend.md begins
import base64
import hashlib
import hmac
import ipaddress
from urllib.parse import quote


def sign(base, key, path, expires, params=None, scheme="hs256", form="query", ip=None):
    """`path` is the object's name, decoded; `expires` Unix seconds; `params` texts."""
    if not key or not 10**9 <= expires < 10**10:
        raise ValueError("a key, and an expiry of ten digits of seconds, are needed")
    params = params or {}
    address = ipaddress.ip_address(ip) if ip else None
    address = getattr(address, "ipv4_mapped", None) or address
    path_and_time = params.get("token_path", path) + str(expires)
    signed = "&".join(f"{name}={params[name]}" for name in sorted(params))
    if scheme == "hs256":  # of IPv6 the first 64 bits count
        octets = address.packed[:8].ljust(len(address.packed), b"\0") if address else b""
        message = path_and_time.encode() + octets + signed.encode()
        digest = hmac.new(key.encode(), message, hashlib.sha256).digest()
        prefix = "HS256-1-" if address else "HS256-"
    else:
        digest = hashlib.sha256(f"{key}{path_and_time}{address or ''}{signed}".encode()).digest()
        prefix = ""
    token = prefix + base64.urlsafe_b64encode(digest).decode().rstrip("=")
    sent = "".join(f"&{name}={quote(params[name], safe='')}" for name in sorted(params))
    if form == "path":
        return f"{base}/bcdn_token={token}{sent}&expires={expires}{quote(path)}"
    return f"{base}{quote(path)}?token={token}{sent}&expires={expires}"
# docs/backend.md ends


def sign_md5(base, key, path, expires):
    """The oldest scheme: one object, in the query, and nothing else can be said."""
    if not key or not 10**9 <= expires < 10**10:
        raise ValueError("a key, and an expiry of ten digits of seconds, are needed")
    digest = hashlib.md5(f"{key}{path}{expires}".encode()).digest()
    token = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return f"{base}{quote(path)}?token={token}&expires={expires}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--scheme", choices=["hs256", "sha256", "md5"], default="hs256")
    parser.add_argument("--form", choices=["query", "path"], default="query")
    parser.add_argument("--ip")
    parser.add_argument("path")
    parser.add_argument("expires", type=int)
    parser.add_argument("params", nargs="*", metavar="name=value")
    given = parser.parse_args()
    params = dict(pair.split("=", 1) for pair in given.params)
    base, key = os.environ["CDN_BASE_URL"].rstrip("/"), os.environ["CDN_SECURITY_KEY"]
    if given.scheme == "md5":
        if given.form == "path" or given.ip or params:
            parser.error("MD5 signs one object in the query, without an address and parameters")
        print(sign_md5(base, key, given.path, given.expires))
        return
    print(sign(base, key, given.path, given.expires, params, given.scheme, given.form, given.ip))


if __name__ == "__main__":
    main()
