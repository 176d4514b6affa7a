"""Load on one server, and what it cost: answers, latency, CPU of the server's
processes, memory."""

import base64
import hashlib
import json
import os
import re
import subprocess
import time

from servers import CLIENT_CORE, KEY

EXPIRES = int(time.time()) + 86_400


def signed(path):
    """A target with a SHA-256 token: key, path and expiry."""
    digest = hashlib.sha256(f"{KEY}{path}{EXPIRES}".encode()).digest()
    token = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return f"{path}?token={token}&expires={EXPIRES}"


def target(server, path):
    return signed(path) if server.signed else path


def family(pid):
    """A process and everything below it."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = open(f"/proc/{entry}/stat").read()
            except OSError:
                continue
            children.setdefault(int(stat[stat.rindex(")") + 2:].split()[1]), []).append(int(entry))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def cpu_seconds(pids):
    """User and system time by each process's own CPU clock, in nanoseconds'
    precision: the ticks of /proc are 10 ms, as much as 30 cold segments cost."""
    total = 0.0
    for pid in pids:
        try:
            # clock_getcpuclockid(3): the process id, complemented, over the clock's kind.
            total += time.clock_gettime((~pid << 3) | 2)
        except OSError:
            continue
    return total


def steal():
    """Seconds that the machine's host gave to others, of all cores together."""
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8]) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    """Resident memory of the family, in KiB."""
    total = 0
    for member in family(pid):
        try:
            status = open(f"/proc/{member}/status").read()
        except OSError:
            continue
        found = re.search(r"VmRSS:\s+(\d+)", status)
        total += int(found[1]) if found else 0
    return total


def milliseconds(text):
    number, unit = re.match(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}[unit]


def pinned(command, seconds):
    done = subprocess.run(["taskset", "-c", CLIENT_CORE, *map(str, command)], capture_output=True, text=True, timeout=seconds + 60)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def wrk(server, path, connections, seconds, headers=()):
    said = [part for header in headers for part in ("-H", header)]
    out = pinned(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *said, server.base + target(server, path)], seconds)
    answers, time_text = re.search(r"(\d+) requests in ([\d.]+\w+),", out).groups()
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    p50, p99 = (milliseconds(re.search(rf"(?m)^\s+{n}%\s+(\S+)", out)[1]) for n in (50, 99))
    return {"answers": int(answers), "errors": int(bad[1]) if bad else 0, "seconds": milliseconds(time_text) / 1e3, "p50_ms": p50, "p99_ms": p99}


def h2load(server, path, connections, seconds):
    out = pinned(["h2load", "-t1", f"-c{connections}", "-m4", "-D", seconds, server.base + target(server, path)], seconds)
    answers = int(re.search(r"(\d+) succeeded", out)[1])
    failed = int(re.search(r"(\d+) failed", out)[1])
    slowest, mean = (milliseconds(text) for text in re.search(r"time for request:\s+\S+\s+(\S+)\s+(\S+)", out).groups())
    return {"answers": answers, "errors": failed, "seconds": float(seconds), "p50_ms": mean, "p99_ms": slowest}


def bulk(park, server, paths, connections, seconds, count=0):
    listed = park.bulk / "targets"
    listed.write_text("\n".join(target(server, path) for path in paths) + "\n")
    return json.loads(pinned([park.work / "bulk", server.authority, listed, connections, seconds, count], seconds))


def measured(server, load):
    """Runs a load and adds what it cost the server."""
    pids = family(server.process.pid)
    before, stolen = cpu_seconds(pids), steal()
    result = load()
    used = cpu_seconds(pids) - before
    if result["errors"] or not result["answers"]:
        raise SystemExit(f"{server.name}: {result['errors']} of {result['answers']} answers were errors")
    result["cpu_us"] = used * 1e6 / result["answers"]
    result["per_second"] = result["answers"] / result["seconds"]
    result["memory_mib"] = memory_kib(server.process.pid) / 1024
    result["steal"] = (steal() - stolen) / result["seconds"]
    return result
