#!/usr/bin/env python3
"""Rules and dashboard against what a live edge says: telemetry.py METRICS PROMTOOL [PROMETHEUS_URL]

METRICS is a file with a scrape of an edge that has seen every kind of event.
Each family and label that the rules and the dashboard use must be in it, each
expression must be PromQL, each recorded name must be recorded, and each
runbook_url a heading. With PROMETHEUS_URL every expression is asked there, and
every panel must show something.
"""
import itertools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
RULES = ROOT / "deploy" / "prometheus" / "rules"
DASHBOARD = ROOT / "deploy" / "grafana" / "warren.json"
FAMILY = re.compile(r"\b(?:warren|veza)_[a-z0-9_]+\b")
RECORDED = re.compile(r"\b[a-z_]+:[a-z0-9_]+:[a-z0-9_]+\b")
SELECTOR = re.compile(r"\b((?:warren|veza)_[a-z0-9_]+)\{([^}]*)\}")
# What Prometheus adds to every series, and Grafana's variables to a query.
TARGET_LABELS = {"job", "instance"}
# Empty where all is well.
MAY_BE_EMPTY = {"Pull failures by reason", "Critical alerts"}

problems = []


def families(text):
    """Each sample's name and the labels seen with it."""
    labels = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
            found = re.findall(r'([a-z_]+)="', rest.rpartition("}")[0]) if "{" in line else []
            labels.setdefault(name, set()).update(found)
    return labels


def panels(dashboard):
    for panel in dashboard["panels"]:
        yield from panel.get("panels", [])
        yield panel


def plain(expression):
    """A dashboard's expression as Prometheus would be asked it."""
    for variable, value in [("$__rate_interval", "1m"), ("$job", "warren"), ("$instance", ".*"), ("$zone", ".*")]:
        expression = expression.replace(variable, value)
    if "$" in expression:
        problems.append(f"an unknown variable in {expression}")
    return expression


def anchors(markdown):
    """Headings as the forges link to them."""
    for heading in re.findall(r"^#+ (.+)$", markdown, re.M):
        yield re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def ask(base, expression):
    url = f"{base}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


def answers(base, expressions):
    """How many are answered, and those that are not within a while: a rule is evaluated after the scrape that it needs."""
    silent, deadline = expressions, time.monotonic() + 15
    while True:
        silent = [(where, expression) for where, expression in silent if not ask(base, expression)]
        if time.monotonic() > deadline or all(where in MAY_BE_EMPTY for where, _ in silent):
            return len(expressions) - len(silent), silent
        time.sleep(0.5)


def main():
    metrics, promtool, *prometheus = sys.argv[1:]
    live = families(pathlib.Path(metrics).read_text())
    groups = [yaml.safe_load(path.read_text())["groups"] for path in sorted(RULES.glob("*.yml"))]
    rules = [rule for group in itertools.chain.from_iterable(groups) for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}

    dashboard = json.loads(DASHBOARD.read_text())
    asked = [(panel["title"], plain(target["expr"])) for panel in panels(dashboard) for target in panel.get("targets", [])]
    asked += [(note["name"], note["expr"]) for note in dashboard["annotations"]["list"] if "expr" in note]
    variables = [(variable["name"], plain(variable["definition"])) for variable in dashboard["templating"]["list"] if "definition" in variable]
    ids = [panel["id"] for panel in panels(dashboard)]
    if len(ids) != len(set(ids)):
        problems.append("two panels share an id")

    used = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules] + asked + variables
    for where, expression in used:
        for name in set(FAMILY.findall(RECORDED.sub(" ", expression))) - {"warren_"}:
            if name not in live:
                problems.append(f"{where}: no edge has {name}")
        for name in RECORDED.findall(expression):
            if name not in recorded:
                problems.append(f"{where}: nothing records {name}")
        for name, matchers in SELECTOR.findall(expression):
            for label in re.findall(r'([a-z_]+)\s*[=!]~?\s*"', matchers):
                if label not in live.get(name, ()) and label not in TARGET_LABELS:
                    problems.append(f"{where}: {name} has no label {label}")

    headings = {}
    for rule in rules:
        if "alert" not in rule:
            continue
        missing = {"summary", "description", "runbook_url"} - rule["annotations"].keys()
        if missing or rule["labels"].get("severity") not in ("critical", "warning"):
            problems.append(f"{rule['alert']}: lacks {sorted(missing)} or has another severity")
            continue
        file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        if file not in headings:
            headings[file] = set(anchors((ROOT / file).read_text()))
        if anchor not in headings[file]:
            problems.append(f"{rule['alert']}: {file} has no heading #{anchor}")

    # Grafana does not check a query before somebody looks; as rules, promtool does.
    as_rules = [{"record": f"panel_{at}", "expr": expression} for at, (_, expression) in enumerate(asked)]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        json.dump({"groups": [{"name": "dashboard", "rules": as_rules}]}, file)
        file.flush()
        done = subprocess.run([promtool, "check", "rules", file.name], capture_output=True, text=True)
        if done.returncode != 0:
            problems.append(f"the dashboard's expressions: {done.stdout}{done.stderr}")

    shown = 0
    if prometheus and not problems:
        shown, silent = answers(prometheus[0], asked + [(rule["record"], rule["expr"]) for rule in rules if "record" in rule])
        problems.extend(f"{where} shows nothing: {expression}" for where, expression in silent if where not in MAY_BE_EMPTY)

    for problem in problems:
        print(problem)
    alerts = sum("alert" in rule for rule in rules)
    print(f"{alerts} alerts, {len(recorded)} recorded, {len(ids)} panels, {len(live)} series names; {shown} expressions with an answer")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
