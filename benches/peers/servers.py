"""The servers that are measured: started on loopback with published
configurations, each on one core, and ended by the process id that was noted."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
KEY = "bench-key-0123456789"
SERVER_CORE, CLIENT_CORE = "0", "1"
START_SECONDS = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One way to one server: a name in the table, a base URL and a process."""

    def __init__(self, name, process, port, signed=False, tls=False):
        self.name, self.process, self.port, self.signed, self.tls = name, process, port, signed, tls

    @property
    def authority(self):
        return f"127.0.0.1:{self.port}"

    @property
    def base(self):
        return ("https://" if self.tls else "http://") + self.authority


class Park:
    """Everything that runs, and the folders it runs in."""

    def __init__(self, warren, against=None):
        self.binaries = {"warren": warren} | ({"before": against} if against else {})
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="warren-bench-"))
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.bulk = pathlib.Path(tempfile.mkdtemp(prefix="warren-bench-", dir=memory))
        # Traffic Server leaves root behind.
        self.work.chmod(0o755)
        self.bulk.chmod(0o755)
        self.processes, self.servers = {}, {}
        names = "ORIGIN NGINX NGINX_LOG NGINX_TLS NGINX_SEGMENTS NGINX_MISSES VARNISH VARNISH_SMALL ATS"
        self.values = {name: str(free_port()) for name in names.split()}
        self.values |= {"WORK": str(self.work), "BULK": str(self.bulk), "ATS_MEMORY": "6G"}

    def __enter__(self):
        try:
            self.prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def prepare(self):
        subprocess.run(["gcc", "-O2", "-o", self.work / "bulk", HERE / "bulk.c"], check=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
             "-subj", "/CN=localhost", "-keyout", self.work / "key.pem", "-out", self.work / "cert.pem"],
            check=True, capture_output=True)
        self.make_objects()
        self.start("origin", ["nginx", "-c", self.config("origin.conf")], self.values["ORIGIN"], CLIENT_CORE)

    def __exit__(self, *_):
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.rmtree(self.bulk, ignore_errors=True)

    def make_objects(self):
        folder = self.bulk / "origin" / "v"
        folder.mkdir(parents=True)
        lines = b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n" + b"".join(b"#EXTINF:6,\nseg_%05d.ts\n" % i for i in range(200))
        # An ended playlist of 2,048 bytes: it is fresh for as long as a row takes.
        end = b"#EXT-X-ENDLIST\n"
        (folder / "p2k.m3u8").write_bytes(lines[: 2048 - len(end) - 1] + b"\n" + end)
        for name, size in (("s64k", 64 << 10), ("s512k", 512 << 10), ("s2m", 2 << 20)):
            (folder / f"{name}.ts").write_bytes(os.urandom(size))

    def config(self, name, **more):
        text = (HERE / "config" / name).read_text()
        for key, value in (self.values | more).items():
            text = text.replace(f"@{key}@", str(value))
        path = self.work / (more.get("FILE") or name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, name, command, port, core=SERVER_CORE, env=None):
        path = os.environ["PATH"] + ":/usr/sbin"
        log = open(self.work / f"{name}.log", "w")
        process = subprocess.Popen(
            ["taskset", "-c", core, *map(str, command)], stdout=log, stderr=log, env={**os.environ, "PATH": path, **(env or {})})
        self.processes[name] = process
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    return process
            if process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"{name} did not start:\n{(self.work / f'{name}.log').read_text()[-2000:]}")

    def get(self, name):
        """A server by its name in the table, started when it is first asked for."""
        if name not in self.servers:
            kind = name.split("-")[0].split("+")[0]
            {"nginx": self.nginx, "varnish": self.varnish, "ats": self.ats}.get(kind, self.warren)(name)
        return self.servers[name]

    def warren(self, name):
        variant = name.split("-")[0].split("+")[0]
        process_name = name.removesuffix("-tls")
        log = "json" if "+log" in name else "off"
        memory = {"-small": "256MiB", "-large": "2GiB"}.get(process_name.removeprefix(variant), "1GiB")
        port, tls_port = free_port(), free_port()
        config = self.config("warren.toml", FILE=f"{process_name}.toml", PORT=port, TLS_PORT=tls_port, LOG=log, MEMORY=memory)
        process = self.start(process_name, [self.binaries[variant], "serve", "--config", config], port, env={"BENCH_KEY": KEY})
        self.servers[process_name] = Server(process_name, process, port, signed=True)
        self.servers[process_name + "-tls"] = Server(process_name + "-tls", process, tls_port, signed=True, tls=True)

    def nginx(self, name):
        own = {"nginx-segments": "NGINX_SEGMENTS", "nginx-misses": "NGINX_MISSES"}
        if name in own:
            port = self.values[own[name]]
            process = self.start(name, ["nginx", "-c", self.config(f"{name}.conf")], port)
            self.servers[name] = Server(name, process, port)
            return
        process = self.start("nginx", ["nginx", "-c", self.config("nginx.conf")], self.values["NGINX"])
        for alias, port, tls in (("nginx", "NGINX", False), ("nginx+log", "NGINX_LOG", False), ("nginx-tls", "NGINX_TLS", True)):
            self.servers[alias] = Server(alias, process, self.values[port], tls=tls)

    def varnish(self, name):
        port, memory = (self.values["VARNISH_SMALL"], "256M") if name == "varnish-small" else (self.values["VARNISH"], "4G")
        folder = self.work / name
        folder.mkdir()
        command = ["varnishd", "-F", "-n", folder, "-a", f"127.0.0.1:{port}", "-f", self.config("varnish.vcl"), "-s", f"malloc,{memory}",
                   "-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "thread_pool_max=2000"]
        self.servers[name] = Server(name, self.start(name, command, port), port)

    def ats(self, name):
        folder = self.work / "ats"
        for part in ("cache", "log", "run"):
            (folder / part).mkdir(parents=True)
        shutil.copytree("/etc/trafficserver", folder / "etc")
        (folder / "etc" / "plugin.config").write_text("")
        for part in ("records.config", "remap.config", "storage.config"):
            self.config(part, FILE=f"ats/etc/{part}")
        (self.bulk / "ats").mkdir()
        subprocess.run(["chown", "-R", "trafficserver", folder, self.bulk / "ats"], check=True)
        port = self.values["ATS"]
        command = ["traffic_server", f"--run-root={self.config('runroot.yaml')}"]
        self.servers[name] = Server(name, self.start(name, command, port), port)
