#!/usr/bin/env python3
"""The compose file, read by Docker Compose itself: compose.py COMPOSE PROMTOOL WARREN

`config` needs no engine. What it says is held against the files beside it: every
mounted file is there, Warren and Prometheus take theirs, drain times agree.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy" / "compose"


def expect(condition, what):
    if not condition:
        sys.exit(what)


def run(*command, env=None):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env)
    return done.returncode, done.stdout, done.stderr


def main():
    compose, promtool, warren = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        clean = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        example = (FOLDER / ".env.example").read_text()
        filled, empty = folder / "filled", folder / "empty"
        filled.write_text(re.sub(r"^([A-Z0-9_]+)=$", r"\1=0123456789abcdef", example, flags=re.M))
        empty.write_text(example)

        def config(variables):
            return run(compose, "--env-file", variables, "--file", FOLDER / "compose.yaml", "config", "--format", "json", env=clean)

        code, _, said = config(empty)
        expect(code != 0 and "set it in .env" in said, f"an empty .env is not refused: {said}")
        code, told, said = config(filled)
        expect(code == 0 and not said, f"docker compose config: {said}")
        services = json.loads(told)["services"]

        for name, service in services.items():
            for volume in service.get("volumes", []):
                expect(volume["type"] != "bind" or pathlib.Path(volume["source"]).exists(), f"{name}: {volume['source']} is not there")
            open_ports = [port for port in service.get("ports", []) if "host_ip" not in port]
            expect(name == "edge" or not open_ports, f"{name} is open to everybody: {open_ports}")

        edge = services["edge"]
        code, _, said = run(warren, "check", "--config", FOLDER / "warren.toml", env={**clean, **edge["environment"]})
        expect(code == 0, f"warren check: {said}")
        listen = tomllib.loads((FOLDER / "warren.toml").read_text())["listen"]
        every_key = tomllib.loads((ROOT / "config" / "warren.toml").read_text())["listen"]
        drain = sum(int(listen.get(key, every_key[key]).removesuffix("s")) for key in ("drain_delay", "grace_period"))
        expect(int(edge["stop_grace_period"].removesuffix("s")) > drain, f"the edge is killed before it has drained ({drain} s)")

        # As it lies in the container.
        (folder / "prometheus.yml").write_bytes((FOLDER / "prometheus.yml").read_bytes())
        (folder / "rules").symlink_to(ROOT / "deploy" / "prometheus" / "rules")
        code, told, said = run(promtool, "check", "config", folder / "prometheus.yml")
        expect(code == 0, f"promtool check config: {told}{said}")

        source, = yaml.safe_load((FOLDER / "grafana" / "datasources.yml").read_text())["datasources"]
        expect(source["url"].split("/")[2].split(":")[0] in services, f"Grafana asks {source['url']}")
        provider, = yaml.safe_load((FOLDER / "grafana" / "dashboards.yml").read_text())["providers"]
        targets = [volume["target"] for volume in services["grafana"]["volumes"]]
        expect(provider["options"]["path"] in targets, f"Grafana reads dashboards in {provider['options']['path']}")
        print(f"{len(services)} services")


if __name__ == "__main__":
    main()
