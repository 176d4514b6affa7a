"""What is measured: a row is a kind of work, the servers that do it, and the
ratio to the best peer that Warren is meant to keep."""

import socket
import statistics
import subprocess
import threading
import time

from load import bulk, h2load, measured, memory_kib, target, wrk
from servers import CLIENT_CORE

LIST = "/v/p2k.m3u8"
SEGMENT_PEERS = ("nginx-segments", "varnish", "ats")


class Target:
    """A ratio of Warren to the best peer, in one interleaved run."""

    def __init__(self, metric, most=None, least=None):
        self.metric, self.most, self.least = metric, most, least

    def met(self, ratio):
        return ratio <= self.most if self.most is not None else ratio >= self.least

    def __str__(self):
        return f"≤ {self.most}" if self.most is not None else f"≥ {self.least}"


class Load:
    """Rounds of one load on each server, in an order that rotates."""

    def __init__(self, title, ours, peers, targets, run, warm=LIST):
        self.title, self.ours, self.peers, self.targets, self.run, self.warm = title, ours, peers, targets, run, warm

    def measure(self, park, rounds, seconds, against, note):
        names = [self.ours, *self.peers]
        if against:
            names.append(self.ours.replace("warren", "before"))
        servers = [park.get(name) for name in names]
        for server in servers:
            for _ in range(3):
                fetch(server, self.warm)
            check(park, server, self.warm)
            # The first run is not counted: caches fill, pages are touched.
            self.run(park, server, 1)
        samples = {name: [] for name in names}
        for turn in range(rounds):
            first = turn % len(servers)
            for server in servers[first:] + servers[:first]:
                result = measured(server, lambda: self.run(park, server, seconds))
                samples[server.name].append(result)
                note(f"{server.name}: {result['cpu_us']:.1f} µs, {result['per_second']:.0f}/s")
        return samples


def fetch(server, path):
    command = ["curl", "-sk", "-f", server.base + target(server, path)]
    return subprocess.run(command, check=True, timeout=60, capture_output=True).stdout


def check(park, server, path):
    """What is measured must be the origin's bytes, and come from memory."""
    asked = lambda: (park.bulk / "origin.log").read_text().count(path)
    before = asked()
    if fetch(server, path) != (park.bulk / "origin" / path.lstrip("/")).read_bytes():
        raise SystemExit(f"{server.name}: {path} is not what the origin has")
    if asked() != before:
        raise SystemExit(f"{server.name}: {path} is not answered from memory")


def small(connections):
    return lambda park, server, seconds: wrk(server, LIST, connections, seconds)


def from_a_page(connections):
    """As browsers ask: with the page that plays it, and its own URL."""
    headers = ["Referer: https://play.example/film?id=7&from=search", "Origin: https://play.example"]
    return lambda park, server, seconds: wrk(server, LIST, connections, seconds, headers)


def over_tls(path, connections):
    return lambda park, server, seconds: wrk(server, path, connections, seconds)


def over_h2(path, connections):
    return lambda park, server, seconds: h2load(server, path, connections, seconds)


def segment(name):
    return lambda park, server, seconds: bulk(park, server, [f"/v/{name}.ts"], 16, seconds)


def thousand_keys(park, server, seconds):
    return bulk(park, server, [f"/u/k{number}/p2k.m3u8" for number in range(1000)], 64, seconds)


def misses(park, server, _seconds):
    """400 objects of 512 KB that nobody has asked for before."""
    now = time.time_ns()
    return bulk(park, server, [f"/u/{now}-{number}/s512k.ts" for number in range(400)], 16, 60, 400)


def cpu(most):
    return [Target("cpu_us", most=most)]


LOADS = {
    "hit2k": Load("2 KB hit, 64 connections", "warren", ["nginx"], cpu(0.70) + [Target("per_second", least=1.5)], small(64)),
    "hit2k-512": Load("2 KB hit, 512 connections", "warren", ["nginx"], cpu(0.65), small(512)),
    "keys1k": Load("2 KB hit over 1,000 keys", "warren", ["nginx"], cpu(0.65), thousand_keys),
    "log2k": Load("2 KB hit, access log on", "warren+log", ["nginx+log"], cpu(0.70), small(64)),
    "referer2k": Load("2 KB hit with a Referer, access log on", "warren+log", ["nginx+log"], cpu(0.90), from_a_page(64)),
    "hit64k": Load("64 KB hit", "warren", SEGMENT_PEERS, cpu(0.75), segment("s64k"), "/v/s64k.ts"),
    "hit512k": Load("512 KB hit", "warren", SEGMENT_PEERS, cpu(1.0), segment("s512k"), "/v/s512k.ts"),
    "hit2m": Load("2 MB hit", "warren", SEGMENT_PEERS, cpu(1.05), segment("s2m"), "/v/s2m.ts"),
    "tls-h1-2k": Load("TLS, HTTP/1.1, 2 KB hit", "warren-tls", ["nginx-tls"], cpu(0.75), over_tls(LIST, 64)),
    "tls-h1-2m": Load("TLS, HTTP/1.1, 2 MB hit", "warren-tls", ["nginx-tls"], cpu(0.70), over_tls("/v/s2m.ts", 16), "/v/s2m.ts"),
    "tls-h2-2k": Load("TLS, HTTP/2, 2 KB hit", "warren-tls", ["nginx-tls"], cpu(0.85), over_h2(LIST, 64)),
    "tls-h2-2m": Load("TLS, HTTP/2, 2 MB hit", "warren-tls", ["nginx-tls"], cpu(0.65), over_h2("/v/s2m.ts", 16), "/v/s2m.ts"),
    "miss512k": Load("512 KB miss, steady state (256 MB caches)", "warren-small", ["varnish-small", "nginx-misses"], cpu(0.85), misses),
}


def herd(park, rounds, _seconds, note):
    """1,000 viewers on a cold 2 MB segment that the origin sends at 8 MB/s."""
    walls, fetches = {"warren": [], "ats": []}, []
    log = park.bulk / "origin.log"
    for turn in range(rounds):
        for name in ("warren", "ats") if turn % 2 else ("ats", "warren"):
            server = park.get(name)
            key = f"/slow/{time.time_ns()}/s2m.ts"
            command = ["taskset", "-c", CLIENT_CORE, "h2load", "--h1", "-n1000", "-c1000", "-t1", "-T30", server.base + target(server, key)]
            started = time.monotonic()
            out = subprocess.run(command, capture_output=True, text=True, timeout=90).stdout
            walls[name].append(time.monotonic() - started)
            if " 1000 2xx" not in out:
                raise SystemExit(f"{name}: not every viewer was answered:\n{out}")
            asked = log.read_text().count(key)
            note(f"{name}: {asked} origin requests, {walls[name][-1]:.2f} s")
            if name == "warren":
                fetches.append(asked)
    ratios = [ours / theirs for ours, theirs in zip(walls["warren"], walls["ats"])]
    return [("origin requests", max(fetches), "= 1", max(fetches) == 1),
            ("wall time, ratio to ats", ratios, "≤ 1.1", statistics.median(ratios) <= 1.1)]


def memory(park, _rounds, _seconds, note):
    """Resident memory for each byte cached: 1 GiB of 512 KB objects."""
    server = park.get("warren-large")
    before = memory_kib(server.process.pid)
    bulk(park, server, [f"/u/m{number}/s512k.ts" for number in range(2048)], 16, 120, 2048)
    time.sleep(2)
    grown = (memory_kib(server.process.pid) - before) / (1 << 20)
    note(f"{grown:.3f} GiB")
    return [("GiB resident for each GiB cached", grown, "≤ 1.10", grown <= 1.10)]


def idle(park, _rounds, _seconds, note):
    """Resident memory of a connection that has had one answer."""
    rows = []
    for name in ("warren", "nginx"):
        server = park.get(name)
        fetch(server, LIST)
        before, count = memory_kib(server.process.pid), 4000
        request = f"GET {target(server, LIST)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        connections = [socket.create_connection(("127.0.0.1", int(server.port))) for _ in range(count)]
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            connection.recv(65_536)
        time.sleep(1)
        each = (memory_kib(server.process.pid) - before) / count
        for connection in connections:
            connection.close()
        note(f"{name}: {each:.1f} KiB")
        rows.append((f"KiB of an idle connection, {name}", each, "≤ 24" if name == "warren" else "–", name != "warren" or each <= 24))
    return rows


def calm(park, rounds, seconds, note):
    """p99 of a 2 KB hit while one viewer reads 2 MB at 10 kB/s and 2 GiB of cold
    objects pass through, against the same without them."""
    server = park.get("warren-small")
    fetch(server, LIST)
    hit = lambda: wrk(server, LIST, 16, max(seconds, 4))["p99_ms"]
    ratios = []
    for _ in range(rounds):
        alone = hit()
        stop = threading.Event()
        others = [threading.Thread(target=slow_reader, args=(server, stop)), threading.Thread(target=crawl, args=(park, server, stop))]
        for other in others:
            other.start()
        time.sleep(0.5)
        disturbed = hit()
        stop.set()
        for other in others:
            other.join()
        note(f"p99 {alone:.2f} ms alone, {disturbed:.2f} ms disturbed")
        ratios.append(disturbed / alone)
    return [("p99 of a 2 KB hit, disturbed over alone", ratios, "≤ 2", statistics.median(ratios) <= 2)]


def slow_reader(server, stop):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        connection.connect(("127.0.0.1", int(server.port)))
        connection.sendall(f"GET {target(server, '/v/s2m.ts')} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())
        while not stop.wait(0.1) and connection.recv(1_000):
            pass


def crawl(park, server, stop):
    """2 GiB at most, eight at a time, until told to stop."""
    for part in range(64):
        if stop.is_set():
            return
        listed = park.bulk / "crawl"
        listed.write_text("\n".join(target(server, f"/u/c{time.time_ns()}-{n}/s512k.ts") for n in range(64)) + "\n")
        command = ["taskset", "-c", CLIENT_CORE, park.work / "bulk", server.authority, listed, "8", "30", "64"]
        subprocess.run(command, capture_output=True, check=True, timeout=60)


SPECIAL = {"herd": herd, "memory": memory, "idle": idle, "calm": calm}
