#!/usr/bin/env python3
"""Public clients of the vendor's API purge at an edge; only their host is changed.

Imported by `run`: for each library and each purge that it has, three objects
are warmed, the library purges, and those that it named are pulled again while
the others are not. As a program it is one such call by a library in Python:
vendor_clients.py LIBRARY HOST KEY WHAT VALUE; vendor/purge.mjs is one in Node.
"""
import contextlib
import http.server
import os
import subprocess
import sys
import threading
import urllib.request

from verdict import expect

OBJECTS = {"/v/a.ts": "film-7", "/v/b.ts": "film-8", "/w/c.ts": "film-7"}
# What each library can purge by.
LIBRARIES = {
    "bunny-cdn-sdk": ["url", "prefix", "tag", "zone"],
    "bunnycdnpython": ["url", "prefix", "zone"],
    "bunnyhop": ["url", "prefix", "zone"],
    "payload-storage-bunny": ["url", "prefix"],
}
ZONE = 1


class Tagging(http.server.BaseHTTPRequestHandler):
    """An origin that tags what it has."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.path.encode()
        self.send_response(200)
        for name, value in [("CDN-Tag", OBJECTS.get(self.path, "film-7")), ("Cache-Control", "max-age=600"), ("Content-Length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def tagging_origin():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tagging) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def cache_of(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.headers["CDN-Cache"]


def purges(library, command, base, admin, key):
    """Each purge of a library's takes away what it names and leaves the rest."""
    def call(key, what, value):
        return subprocess.run([*command, library, admin, key, what, value], capture_output=True, text=True, timeout=60)

    table = {
        "url": (f"{base}/v/a.ts", ["/v/a.ts"]),
        "prefix": (f"{base}/v/*", ["/v/a.ts", "/v/b.ts"]),
        "tag": ("film-7", ["/v/a.ts", "/w/c.ts"]),
        "zone": (str(ZONE), list(OBJECTS)),
    }
    for what in LIBRARIES[library]:
        value, named = table[what]
        for path in OBJECTS:
            cache_of(base + path)
            expect(cache_of(base + path) == "HIT", f"{path} is not stored")
        done = call(key, what, value)
        expect(done.returncode == 0, f"{library} by {what}: {done.stdout}{done.stderr}")
        gone = [path for path in OBJECTS if cache_of(base + path) == "MISS"]
        expect(gone == named, f"{library} by {what} {value}: {gone} instead of {named} were purged")
    done = call("wrong-key", "url", f"{base}/v/a.ts")
    expect(done.returncode == 1, f"{library} takes no notice of a refusal: {done.stdout}{done.stderr}")


def by_bunny_cdn_sdk(host, key, what, value):
    from bunny_cdn_sdk import BunnyAPIError, CoreClient

    with CoreClient(key, base_url=host) as client:
        try:
            if what == "zone":
                return client.purge_pull_zone_cache(int(value)) == {}
            if what == "tag":
                return client.purge_pull_zone_cache(ZONE, CacheTag=value) == {}
            return client.purge_url(value) == {}
        except BunnyAPIError as error:
            print(error)
            return False


def by_bunnycdnpython(host, key, what, value):
    from BunnyCDN.CDN import CDN

    client = CDN(key)
    client.base_url = f"{host}/"
    said = client.PurgePullZoneCache(int(value)) if what == "zone" else client.PurgeUrlCache(value)
    print(said)
    return said["status"].lower() == "success"


def by_bunnyhop(host, key, what, value):
    os.environ["BUNNYCDN_API_ENDPOINT"] = host
    from bunnyhop import Bunny

    client = Bunny(key)
    if what == "zone":
        return client.Zone.purge(int(value)) == "Purge Queue was finished."
    said = client.Purge.create(value)
    print(said)
    return said == b""


BY = {"bunny-cdn-sdk": by_bunny_cdn_sdk, "bunnycdnpython": by_bunnycdnpython, "bunnyhop": by_bunnyhop}

if __name__ == "__main__":
    library, host, key, what, value = sys.argv[1:]
    sys.exit(0 if BY[library](host, key, what, value) else 1)
