#!/usr/bin/env python3
"""The admin API against its document: api.py ADMIN_URL < KEYS

KEYS is JSON: the keys of a fresh edge by their rights, those under `admin` as a
list. docs/openapi.json must be OpenAPI with examples that fit, each key must
open what `x-rights` says, each example of a request must be taken, each error
must be had by its name, and no answer to what schemathesis makes up may be
another than the document allows.
"""
import contextlib
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from verdict import expect

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "openapi.json"
ADMIN = ROOT / "src" / "admin"
RIGHTS = ["read", "purge", "admin"]
METHODS = ["get", "post", "put", "delete", "patch"]
# They answer until somebody hangs up: schemathesis would wait. Their examples are read here, line by line.
STREAMS = {"events", "warm"}
# It would turn connections away from under the others. Its examples come in their order, which takes it back.
DRAINS = {"drain", "undrain"}
# It would be another process's turn.
HANDS_OVER = {"upgrade"}
LINES_OF_A_STREAM = 5
# Those of the events: the one comes at once, the other within two seconds.
EVENTS = {name: {"$ref": f"#/components/schemas/{schema}"} for name, schema in [("stats", "Stats"), ("sample", "Sample")]}
EXAMPLES = 25
SECONDS = 20
# What is said to be told which error: a body, whose first URL is also the parameter `url`.
MISTAKES = {
    "nothing_named": {},
    "unknown_host": {"urls": ["https://elsewhere.example/a.ts"]},
    "no_zone": {"urls": ["/a.ts"]},
    "bad_path": {"urls": ["https://cdn.example.net/a%2Fb.ts"]},
    "unknown_zone": {"urls": ["/a.ts"], "zone": "none"},
    "too_many_items": {"urls": ["/a.ts"] * 10_001, "zone": "vod"},
    "no_reason": {"urls": ["https://cdn.example.net/a.ts"], "reason": " "},
    "bad_time": {"urls": ["https://cdn.example.net/a.ts"], "until": 1, "expires_before": 1},
    "no_token": {"urls": ["https://cdn.example.net/a.ts"]},
    "bad_fingerprint": {"fingerprints": ["abc"]},
    "unknown_key": {"keys": ["none"]},
    "bad_country": {"urls": ["https://cdn.example.net/a.ts"], "country": "Switzerland"},
    "bad_ip": {"urls": ["https://cdn.example.net/a.ts"], "client_ip": "203.0.113"},
    # Beside those that are there from the examples.
    "cannot_be_kept": {"prefixes": [f"/{number}/" for number in range(10_000)], "zone": "vod"},
}
# The same of calls that name addresses.
MISTAKES_OF_ADDRESSES = {
    "nothing_named": {"addresses": []},
    "bad_address": {"addresses": ["203.0.113"]},
    "too_many_items": {"addresses": ["203.0.113.7"] * 10_001},
    "cannot_be_kept": {"addresses": [f"10.0.{number // 256}.{number % 256}" for number in range(10_000)]},
}
# Not of the body: too many at a time, too much of it, a query, another key, a node that ends.
OTHERWISE = {"not_done", "busy", "bad_query", "body_too_large", "unauthorized", "forbidden", "rate_limited", "too_many_streams", "too_many_warms", "stopping"}
# Of a line of what schemathesis says: a call that it made up may be a megabyte.
WIDTH = 400
# Not judged by schemathesis: whether a key is asked for, which takes more wrong keys than are answered, and is
# tried here; and whether all that fits is taken, since no schema says which zones there are.
LEFT_OUT = "ignored_auth,positive_data_acceptance"
# 413 is a refusal too.
SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = ["4xx"]
"""


def every_route_is_described():
    """The routers' paths and methods are those of the document."""
    routes = set()
    for file in sorted(ADMIN.rglob("*.rs")):
        for path, handlers in re.findall(r'\.route\(\s*"([^"]+)",(.*?)(?=\n        \.|\n\}|;\n)', file.read_text(), re.S):
            methods = re.findall(rf"\b({'|'.join(METHODS)})\(", handlers)
            expect(methods, f"{path}: no method is seen in {file}")
            routes |= {(method, path) for method in methods}
    described = {(method, path) for method, path, _ in operations(json.loads(DOCUMENT.read_text()))}
    findings = [f"{method.upper()} {path} is not in docs/openapi.json" for method, path in sorted(routes - described)]
    findings += [f"docs/openapi.json has {method.upper()} {path}, which is no route" for method, path in sorted(described - routes)]
    expect(not findings, "\n" + "\n".join(f"  {finding}" for finding in findings))


def operations(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def closed(node):
    """The document, but no object has more fields than it names: clients may meet new ones, this judge may not."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    more = {"additionalProperties": False} if node.get("type") == "object" and "properties" in node else {}
    return {**more, **{name: value if name in ("example", "value") else closed(value) for name, value in node.items()}}


def problems_of(document, schema, value):
    """What is wrong with a value, by a schema that may point into the document. 1.0 is no integer: clients with types do not take it."""
    import jsonschema

    draft = jsonschema.Draft202012Validator
    integers = draft.TYPE_CHECKER.redefine("integer", lambda _, number: isinstance(number, int) and not isinstance(number, bool))
    whole = {**schema, "components": document["components"]}
    problems = jsonschema.validators.extend(draft, type_checker=integers)(whole).iter_errors(value)
    return [f"{problem.json_path}: {problem.message}" for problem in problems]


def examples_of(media):
    """The examples of a body, by their names."""
    named = {name: example["value"] for name, example in media.get("examples", {}).items()}
    return {**({"": media["example"]} if "example" in media else {}), **named}


def bodies(node, path=""):
    """Everything in the document that has a schema and examples."""
    if isinstance(node, dict) and "schema" in node:
        yield path, node
    for name, item in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from bodies(item, f"{path}/{name}")


def the_document_is_sound(document):
    import openapi_spec_validator

    openapi_spec_validator.validate(document)
    version = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    expect(document["info"]["version"] == version, f"docs/openapi.json is not of {version}")
    for where, media in bodies(document):
        for name, example in examples_of(media).items():
            problems = problems_of(document, media["schema"], example)
            expect(not problems, f"{where}, example {name!r}: {problems}")


class Edge:
    """Asks a live edge, and holds each answer against the document."""

    def __init__(self, document, base):
        self.document = document
        self.base = base

    def resolved(self, node):
        return self.document["components"]["responses"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    def open(self, method, path, operation, key=None, body=None, **given):
        """The answer, whatever its status. Parameters are their examples where they are not given."""
        parameters = {p["name"]: (p["in"], given.get(p["name"], p["example"])) for p in operation.get("parameters", [])}
        query = {name: value for name, (where, value) in parameters.items() if where == "query" and value is not None}
        target = re.sub(r"\{(\w+)\}", lambda found: parameters[found[1]][1], path)
        url = f"{self.base}{target}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        headers = {**({"AccessKey": key} if key else {}), **({"Content-Type": "application/json"} if body is not None else {})}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method.upper())
        try:
            return urllib.request.build_opener(Unredirected).open(request, timeout=30)
        except urllib.error.HTTPError as error:
            return error

    def ask(self, method, path, operation, *arguments, **given):
        """Status and lines, held against the document. A stream is left after a few lines."""
        with self.open(method, path, operation, *arguments, **given) as answer:
            most = LINES_OF_A_STREAM if operation["operationId"] in STREAMS else None
            lines = list(itertools.islice(answer, most))
            self.compare(f"{method.upper()} {path}", operation, answer, lines)
        return answer.status, b"".join(lines)

    def compare(self, what, operation, answer, lines):
        response, text = operation["responses"].get(str(answer.status)), b"".join(lines)
        expect(response, f"{what}: {answer.status} is not documented: {text[:300]!r}")
        response = self.resolved(response)
        kind = (answer.headers["Content-Type"] or "").partition(";")[0]
        documented = response.get("content", {})
        expect(kind in documented or not (kind or documented), f"{what}: {answer.status} is {kind!r}, documented {list(documented)}")
        for name in response.get("headers", {}):
            expect(answer.headers[name], f"{what}: {answer.status} without {name}")
        values = []
        if kind == "text/event-stream":
            values = [(EVENTS[name], data) for name, data in re.findall(r"event: (\w+)\ndata: (.*)\n", text.decode())]
            expect(len(values) == len(EVENTS), f"{what}: {text[:300]!r}")
        elif kind.endswith("json"):
            values = [(documented[kind]["schema"], value) for value in (lines if kind.endswith("ndjson") else [text])]
        for schema, value in values:
            problems = problems_of(self.document, schema, json.loads(value))
            expect(not problems, f"{what}: {answer.status}: {problems} in {value[:300]!r}")


class Unredirected(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def request_bodies(operation):
    media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    return list(examples_of(media).values()) or [None]


def rights_are_as_documented(edge, keys):
    for method, path, operation in operations(edge.document):
        least = operation.get("x-rights")
        body = request_bodies(operation)[0]
        if not least:
            expect(operation["security"] == [], f"{path}: neither rights nor without a key")
            continue
        status, _ = edge.ask(method, path, operation, body=body)
        if status == 429:
            # More calls than wrong keys are answered in ten seconds.
            time.sleep(10)
            status, _ = edge.ask(method, path, operation, body=body)
        expect(status == 401, f"{method} {path} without a key: {status}")
        for rights in RIGHTS[: RIGHTS.index(least)]:
            status, _ = edge.ask(method, path, operation, keys[rights][0], body)
            expect(status == 403, f"{method} {path} with {rights} rights: {status}")


def examples_are_taken(edge, keys):
    """With the rights that are documented, and no more."""
    asked = 0
    for method, path, operation in operations(edge.document):
        if operation["operationId"] in HANDS_OVER:
            continue
        key = keys[operation["x-rights"]][0] if "x-rights" in operation else None
        for body in request_bodies(operation):
            status, text = edge.ask(method, path, operation, key, body)
            expect(status < 400, f"{method} {path} with the example {body}: {status} {text[:300]!r}")
            asked += 1
    return asked


def errors_are_named(edge, key):
    """Each error that is documented of a call, by a call that makes that mistake; and no other by any mistake."""
    had = 0
    for method, path, operation in operations(edge.document):
        documented = names_of_errors(edge, operation) - OTHERWISE
        if method == "delete":
            # What is lifted needs no room.
            documented -= {"cannot_be_kept"}
        fields = fields_of(edge, operation)
        for name in sorted(documented | (MISTAKES.keys() - {"cannot_be_kept"} if fields else set())):
            mistake = {**({"reason": "a judge"} if "reason" in fields else {}), **mistake_of(name, fields)}
            if name == "bad_time":
                # Each call has one such field.
                mistake = {field: value for field, value in mistake.items() if field in fields or field == "urls"}
            url = mistake.get("urls", [None])[0]
            if "url" in fields:
                mistake = {**({"url": url} if url else {}), **{field: value for field, value in mistake.items() if field != "urls"}}
            body = b"{" if name == "bad_json" else mistake if fields else None
            _, text = edge.ask(method, path, operation, key, body, url=url, **({"prefix": url} if url else {}), zone=mistake.get("zone"), id="vod" if name == "bad_json" else "none")
            if name in documented:
                said = json.loads(text)
                expect(said.get("title", said.get("ErrorKey")) == name, f"{method} {path}: {said} instead of {name}")
                had += 1
    return had


def mistake_of(name, fields):
    if "addresses" not in fields:
        return MISTAKES.get(name, {})
    others = {field: value for field, value in MISTAKES.get(name, {}).items() if field in fields}
    return {"addresses": ["203.0.113.7"], **others, **MISTAKES_OF_ADDRESSES.get(name, {})}


def names_of_errors(edge, operation):
    media = [media for response in operation["responses"].values() for media in edge.resolved(response).get("content", {}).values()]
    told = [part["properties"] for one in media for part in one["schema"].get("allOf", []) if "properties" in part]
    return set(itertools.chain.from_iterable(properties.get("title", properties.get("ErrorKey"))["enum"] for properties in told))


def fields_of(edge, operation):
    """Of its body; none where it has none."""
    if "requestBody" not in operation:
        return {}
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return edge.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]["properties"]


def schemathesis_finds_nothing(document, base, keys):
    """How many calls it made."""
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "openapi.json"
        file.write_text(json.dumps(document))
        file.with_name("schemathesis.toml").write_text(SETTINGS)
        left = [option for name in sorted(STREAMS | DRAINS | HANDS_OVER) for option in ("--exclude-operation-id", name)]
        command = [str(program), "run", str(file), "--url", base, "--seed", "1", "--max-examples", str(EXAMPLES), "--max-time", str(SECONDS),
                   "--exclude-checks", LEFT_OUT, "--phases", "examples,coverage,fuzzing", "--generation-with-security-parameters", "false",
                   "--generation-database", "none", "--no-color", "--warnings", "off", *left]
        settings = {"SCHEMATHESIS_HOOKS": "api_keys", "PYTHONPATH": str(ROOT / "tests" / "judges"), "PYTHONDONTWRITEBYTECODE": "1", "API_KEYS": " ".join(keys)}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, env={**os.environ, **settings})
    said = "\n".join(line[:WIDTH] for line in done.stdout.splitlines())
    expect(done.returncode == 0, said + done.stderr)
    return re.search(r"(\d+) generated", done.stdout)[1]


def wrong_keys_are_slowed_down(edge):
    operation = edge.document["paths"]["/v1/takedowns"]["get"]
    statuses = [edge.ask("get", "/v1/takedowns", operation, "wrong")[0] for _ in range(25)]
    expect(set(statuses) <= {401, 429} and statuses[-1] == 429, f"25 wrong keys: {statuses}")


def streams_are_counted(edge, key):
    path = "/v1/stats/events"
    operation = edge.document["paths"][path]["get"]
    with contextlib.ExitStack() as stack:
        statuses = [stack.enter_context(edge.open("get", path, operation, key)).status for _ in range(16)]
        statuses.append(edge.ask("get", path, operation, key)[0])
    expect(statuses == [200] * 16 + [503], f"17 streams: {statuses}")


def main():
    document = closed(json.loads(DOCUMENT.read_text()))
    keys = json.load(sys.stdin)
    edge = Edge(document, sys.argv[1])
    the_document_is_sound(document)
    rights_are_as_documented(edge, keys)
    taken = examples_are_taken(edge, keys)
    served = edge.ask("get", "/openapi.json", document["paths"]["/openapi.json"]["get"])[1]
    expect(served == DOCUMENT.read_bytes(), "what is served is not docs/openapi.json")
    had = errors_are_named(edge, keys["admin"][0])
    made_up = schemathesis_finds_nothing(document, sys.argv[1], keys["admin"][1:])
    wrong_keys_are_slowed_down(edge)
    # Wrong keys that were tried from here close the door for ten seconds.
    time.sleep(11)
    streams_are_counted(edge, keys["read"][0])
    print(f"{len(list(operations(document)))} operations, {taken} examples taken, {had} errors named, {made_up} calls made up")


if __name__ == "__main__":
    try:
        main()
    except AssertionError as why:
        sys.exit(str(why))
