#!/usr/bin/env python3
"""The Helm chart, rendered by Helm itself: chart.py HELM PROMTOOL WARREN

What comes out is held against the Kubernetes schemas, the configuration in it
against `warren check`, and the rules in it against promtool. Values that make
no sense must be refused by the chart's schema.
"""
import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy" / "helm" / "warren"
KUBERNETES = ("1.30", "1.37")
# Of the Prometheus operator: not among Kubernetes' own schemas.
FOREIGN = {"ServiceMonitor", "PrometheusRule"}
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

BARE = ["existingSecret=warren"]
WHOLE = BARE + [
    "tls.secretName=tls", "preStopSleepSeconds=7", "autoscaling.enabled=true", "networkPolicy.enabled=true",
    "serviceMonitor.enabled=true", "prometheusRule.enabled=true", "prometheusRule.runbookBase=https://docs.example.net/",
    "dashboard.enabled=true", "service.type=LoadBalancer", "podAnnotations.a=b", "nodeSelector.disk=none", "priorityClassName=high",
    "imagePullSecrets[0].name=registry", "tolerations[0].operator=Exists", "service.annotations.a=b", "listen.extra=threads = 2",
]
REFUSED = {
    "no secret": ["existingSecret="],
    "an unknown key": BARE + ["replicas=3"],
    "an unknown key below": BARE + ["cache.size=1GiB"],
    "a right that is none": BARE + ["adminRights=write"],
    "a size that Warren refuses": BARE + ["cache.memory=1GB"],
    "a port that needs a capability": BARE + ["listen.httpPort=80"],
    "seconds with a unit": BARE + ["listen.drainDelaySeconds=10s"],
    "no zone": BARE + ["zones=nothing"],
    "no edge": BARE + ["replicaCount=0"],
    "a log that is none": BARE + ["log.access=apache"],
    "a variable that is none": BARE + ["secretEnv.1KEY=x"],
    "a name with capitals": BARE + ["fullnameOverride=Warren"],
    "a Service that is none": BARE + ["service.type=Ingress"],
}


def expect(condition, what):
    if not condition:
        sys.exit(what)


def template(helm, chart, sets):
    words = [word for pair in sets for word in ("--set", pair)]
    return subprocess.run([helm, "template", "edge", str(chart), "--namespace", "cdn", *words], capture_output=True, text=True)


def size(text):
    number = text.rstrip("KMGTiB")
    return int(number) * UNITS[text[len(number):]]


def configuration(documents, deployment, warren, folder):
    """`warren check` on what the pod would read, with the variables that it would have."""
    text = next(d for d in documents if d["kind"] == "ConfigMap" and "warren.toml" in d["data"])["data"]["warren.toml"]
    certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=cdn.example.net",
                   "-addext", "subjectAltName=DNS:cdn.example.net", "-keyout", f"{folder}/tls.key", "-out", f"{folder}/tls.crt"]
    subprocess.run(certificate, check=True, capture_output=True)
    config = folder / "warren.toml"
    config.write_text(text.replace("/etc/warren-tls/", f"{folder}/"))
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    variables = {entry["name"]: entry.get("value", "0123456789abcdef") for entry in container["env"]}
    environment = {"PATH": os.environ["PATH"], **variables}
    done = subprocess.run([warren, "check", "--config", str(config)], capture_output=True, text=True, env=environment)
    expect(done.returncode == 0, f"warren check on the rendered configuration:\n{done.stderr}\n{text}")
    return tomllib.loads(text)


def consistent(deployment, config):
    """What stands in two places is the same in both."""
    pod = deployment["spec"]["template"]["spec"]
    container = pod["containers"][0]
    drain = sum(int(config["listen"][key].removesuffix("s")) for key in ("drain_delay", "grace_period"))
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    expect(pod["terminationGracePeriodSeconds"] > drain + before, "the pod is killed before it has drained")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for name, address in [("admin", config["admin"]["listen"]), ("http", config["listen"]["http"][0])]:
        expect(int(address.rpartition(":")[2]) == ports[name], f"the port {name} is another in warren.toml")
    expect(("https" in config["listen"]) == ("https" in ports), "https is in one place only")
    probes = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    expect(all(get["port"] == "admin" for get in probes.values()), f"probes: {probes}")
    expect(size(container["resources"]["limits"]["memory"]) >= 1.5 * size(config["cache"]["memory"]), "no memory beside the cache")
    for where, wanted in [(pod["securityContext"], {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}),
                          (container["securityContext"], {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}})]:
        expect(wanted.items() <= where.items(), f"the pod may do more than it should: {where}")


def rules(documents, promtool, folder):
    for document in documents:
        if document["kind"] != "PrometheusRule":
            continue
        file = folder / "rules.yml"
        file.write_text(yaml.safe_dump(document["spec"]))
        done = subprocess.run([promtool, "check", "rules", str(file)], capture_output=True, text=True)
        expect(done.returncode == 0, f"promtool check rules: {done.stdout}{done.stderr}")
        links = [rule["annotations"]["runbook_url"] for group in document["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
        expect(links and all(link.startswith("https://docs.example.net/docs/") for link in links), f"runbook links: {links}")


def main():
    helm, promtool, warren = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        os.environ |= {f"HELM_{name}_HOME": str(folder / name) for name in ("CACHE", "CONFIG", "DATA")}
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        expect(chart["appVersion"] == version, f"Chart.yaml says {chart['appVersion']}, Cargo.toml {version}")

        done = subprocess.run([helm, "lint", "--strict", "--set", BARE[0], str(CHART)], capture_output=True, text=True)
        expect(done.returncode == 0, f"helm lint: {done.stdout}{done.stderr}")
        # A package has the rules and the dashboard in it, and not links to them.
        subprocess.run([helm, "package", str(CHART), "--destination", str(folder)], check=True, capture_output=True)
        package = folder / f"warren-{chart['version']}.tgz"

        count = 0
        for sets in (BARE, WHOLE):
            done = template(helm, package, sets)
            expect(done.returncode == 0, f"helm template: {done.stderr}")
            documents = [document for document in yaml.safe_load_all(done.stdout) if document]
            count += len(documents)
            for document in documents:
                for release in KUBERNETES if document["kind"] not in FOREIGN else ():
                    try:
                        kubernetes_validate.validate(document, release, strict=True)
                    except kubernetes_validate.ValidationError as why:
                        sys.exit(f"{document['kind']} for Kubernetes {release}: {why.message}")
            deployment = next(document for document in documents if document["kind"] == "Deployment")
            consistent(deployment, configuration(documents, deployment, warren, folder))
            rules(documents, promtool, folder)
        for name, sets in REFUSED.items():
            done = template(helm, package, sets)
            expect(done.returncode != 0 and "schema" in done.stderr, f"{name}: not refused by the schema: {sets}\n{done.stderr}")
        print(f"{count} objects fit Kubernetes {' and '.join(KUBERNETES)}; {len(REFUSED)} kinds of wrong values are refused")


if __name__ == "__main__":
    main()
