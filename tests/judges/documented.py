"""The docs against the program: what it can say is written down, what is
written down is there.

It reads the keys that `warren check` knows, the metrics of a live node, the
tables of names in src, and the pages. Each finding is one line.
"""
import itertools
import pathlib
import re
import subprocess
import tempfile

from verdict import expect

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
SRC = ROOT / "src"
WARREN = ROOT / "target" / "debug" / "warren"


def page(name):
    return (DOCS / name).read_text()


def pages():
    """Every page that users read, by its path from the root."""
    files = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]
    return {str(file.relative_to(ROOT)): file.read_text() for file in sorted(files)}


def section(text, heading):
    """What stands between a heading and the next of its rank."""
    rank = heading.split(" ")[0]
    found = re.search(rf"^{re.escape(heading)}\n(.*?)(?=^#{{1,{len(rank)}}} |\Z)", text, re.M | re.S)
    expect(found, f"the heading {heading!r} is gone")
    return found[1]


def first_cells(text):
    """The names in backticks in the first column of every table, without its head."""
    body = re.sub(r"^\|.*\n(?=\|-)", "", text, flags=re.M)
    rows = re.findall(r"^\| (`[^|]*) \|", body, re.M)
    return set(itertools.chain.from_iterable(re.findall(r"`([^`]+)`", row) for row in rows))


def conclude(findings):
    expect(not findings, "\n" + "\n".join(f"  {finding}" for finding in findings))


# One key that no table knows, in every table, so that `check` names those there are.
EVERYWHERE = """
unknown = 1
[listen]
unknown = 1
http = ["127.0.0.1:0"]
[tls]
unknown = 1
certificates = [{ cert = "no.pem", key = "no.pem", unknown = 1 }]
[admin]
unknown = 1
access_keys = [{ name = "ops", env = "KEY", unknown = 1 }]
[cache]
unknown = 1
[log]
unknown = 1
[geo]
unknown = 1
[[zone]]
unknown = 1
name = "a"
hostnames = ["*"]
[zone.cors]
unknown = 1
[zone.https]
unknown = 1
[[zone.path]]
unknown = 1
match = ["/posters/*"]
[zone.referrer]
unknown = 1
[zone.token]
unknown = 1
keys = [{ name = "main", env = "KEY", unknown = 1 }]
[zone.origin]
unknown = 1
kind = "s3"
endpoints = ["http://127.0.0.1:9000"]
bucket = "media"
[zone.cache]
unknown = 1
[zone.cache.ttl]
unknown = 1
[[zone]]
name = "b"
hostnames = ["b"]
token = { required = false }
[zone.origin]
unknown = 1
kind = "http"
endpoints = ["http://127.0.0.1:9000"]
"""


def known_keys():
    """The keys of each table, as `warren check` lists them: {"listen": {"http", …}}."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(EVERYWHERE)
        file.flush()
        command = [str(WARREN), "check", "--config", file.name]
        done = subprocess.run(command, capture_output=True, text=True, env={"KEY": "key"})
    said = re.findall(r"^\S+:\d+: (\S*?)\.?unknown\n  found: .*\n  allowed: (.*)", done.stdout + done.stderr, re.M)
    keys = {}
    for table, allowed in said:
        table = re.sub(r"\[\d+\]", "", table)
        keys.setdefault(table, set()).update(allowed.split(", "))
    expect(len(keys) >= 17, f"`check` spoke of {sorted(keys)} only:\n{done.stdout}{done.stderr}")
    return keys


# A table's heading in docs/configuration.md; nested lists are described in their parent's rows.
NESTED = {"admin.access_keys": "admin", "zone.token.keys": "zone.token", "tls.certificates": "tls"}


def every_key_is_documented():
    text, example = page("configuration.md"), (ROOT / "config" / "warren.toml").read_text()
    findings = []
    keys = known_keys()
    tables = set(keys) - {""}
    for table, names in sorted(keys.items()):
        if not table:
            continue
        if table in NESTED:
            described = section(text, heading_of(NESTED[table]))
            findings += [f"{table}: {name!r} is not in docs/configuration.md" for name in names if name not in described]
            continue
        rows = first_cells(section(text, heading_of(table)))
        own = {name for name in names if f"{table}.{name}" not in tables or f"{table}.{name}" in NESTED}
        findings += [f"[{table}] {name} has no row in docs/configuration.md" for name in sorted(own - rows)]
        findings += [f"docs/configuration.md has {name} in [{table}], which `check` does not know" for name in sorted(rows - names)]
        defaults = dict(re.findall(r"^\| `(\w+)` \| [^|]* \| `([^`|]*)` \| ", section(text, heading_of(table)), re.M))
        brackets = re.escape(heading_of(table).strip("# `"))
        part = (re.split(rf"\n(?:# )?{brackets}", example, maxsplit=1) + [""])[1].partition("\n[")[0]
        findings += [f"[{table}] {name} is not in config/warren.toml" for name in sorted(own) if not re.search(rf"^(# )?{name} = ", part, re.M)]
        for name, value in re.findall(r"^(\w+) = ([^#\n]*)", part, re.M):
            if defaults.get(name, value.strip()) != value.strip():
                findings.append(f"[{table}] {name}: the default is {defaults[name]} in docs/configuration.md and {value.strip()} in config/warren.toml")
    conclude(findings)


def every_header_is_documented(answers, asked):
    """`answers` are the names of headers that viewers got, `asked` those that an origin got."""
    findings = []
    for where, names in [("reference/caching.md", answers), ("reference/origin.md", asked)]:
        text = page(where).lower()
        findings += [f"docs/{where} does not name the header {name}" for name in sorted(names) if f"{name}" not in text]
    conclude(findings)


def every_log_field_is_documented(line):
    """`line` is one of the access log in JSON, parsed."""
    described = section(page("metrics.md"), "### `access = \"json\"`")
    rows, sample = first_cells(described), described.partition("```json")[2].partition("```")[0]
    findings = [f"docs/metrics.md has no row for the log field {name}" for name in sorted(line.keys() - rows)]
    findings += [f"docs/metrics.md has the log field {name}, which there is not" for name in sorted(rows - line.keys())]
    findings += [f"the sample line in docs/metrics.md lacks {name}" for name in line if f'"{name}":' not in sample]
    conclude(findings)


def heading_of(table):
    return f"## `[[{table}]]`" if table in ("zone", "zone.path") else f"## `[{table}]`"


def metrics_in_source():
    files = sorted((SRC / "telemetry").glob("*.rs"))
    text = "".join(file.read_text().partition("#[cfg(test)]")[0] for file in files)
    return set(re.findall(r'"((?:warren|veza)_[a-z_]+)"', text))


def every_metric_is_documented(live):
    """`live` is the text of /metrics of a node that has answered, refused and failed."""
    table = section(page("metrics.md"), "## Metrics")
    rows = {row[1]: row[0] for row in re.findall(r"^(\| `((?:warren|veza)_[a-z_]+)` .*)$", table, re.M)}
    source = metrics_in_source()
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)", live, re.M))
    findings = [f"/metrics has {name}, which no file of src/telemetry names" for name in families.keys() - source]
    for name in sorted(source):
        row = rows.get(name)
        if row is None:
            findings.append(f"{name} has no row in docs/metrics.md")
            continue
        if name in families and f"| {families[name]} |" not in row:
            findings.append(f"docs/metrics.md does not say that {name} is a {families[name]}")
        for labels in set(re.findall(rf"^{name}(?:_bucket|_sum|_count)?\{{(.*)\}} ", live, re.M)):
            for label in re.findall(r'(\w+)="', labels):
                if label != "le" and f"`{label}`" not in row:
                    findings.append(f"docs/metrics.md does not name the label {label} of {name}")
    suffixes = re.compile(r"_(bucket|sum|count)$")
    for where, text in pages().items():
        for name in set(re.findall(r"\b((?:warren|veza)_[a-z]+_[a-z_]+[a-z])\b", text)):
            if name not in source and suffixes.sub("", name) not in source:
                findings.append(f"{where} speaks of {name}, which there is not")
    expect(len(families) >= 20, f"only {len(families)} families in /metrics")
    conclude(sorted(set(findings)))


# Where the names of an enum of src are documented.
NAMES = {
    "admin/orders.rs": ["api.md"],
    "edge/refused.rs": ["reference/tokens.md"],
    "token/mod.rs": ["reference/tokens.md"],
    "zone/access.rs": ["reference/tokens.md"],
    "token/policy.rs": ["reference/tokens.md", "configuration.md"],
    "cache/ignore.rs": ["configuration.md"],
    "cache/lifetime.rs": ["reference/caching.md"],
    "origin/failure.rs": ["reference/origin.md"],
    "origin/settings.rs": ["configuration.md"],
    "edge/limits.rs": ["reference/limits.md", "metrics.md"],
    "edge/waits.rs": ["metrics.md"],
    "standing/mod.rs": ["reference/limits.md", "metrics.md"],
    "telemetry/mod.rs": ["reference/caching.md"],
    "telemetry/top.rs": ["api.md"],
    "hls/kind.rs": ["reference/caching.md"],
}
# Enums that only pass on the names of others.
FORWARDING = {"edge/serve.rs"}


def names_of(file):
    """The texts that a file's `name()` returns."""
    text = file.read_text().partition("#[cfg(test)]")[0]
    bodies = re.findall(r"const fn name\(&?self\) -> &'static str \{\n(.*?)\n    \}", text, re.S)
    listed = re.findall(r"const NAMES: \[&'static str; \d+\] =\s*\[(.*?)\]", text, re.S)
    return set(re.findall(r'"([^"]+)"', "".join(bodies + listed)))


def statuses_of(file):
    """The status of each variant of a file's enums, of those that `status()` writes out."""
    text = file.read_text()
    bodies = [re.findall(rf"const fn {of} \{{\n(.*?)\n    \}}", text, re.S) for of in (r"name\(self\) -> &'static str", r"status\(self\) -> u16")]
    found = {}
    for name_body, status_body in zip(*bodies, strict=True):
        names = dict(re.findall(r'\w+::(\w+) => "([^"]+)"', name_body))
        arms = re.findall(r"([^>{},]+) => (\d{3})", status_body)
        other = re.search(r"_ => (\d{3})", status_body)
        if other:
            found.update({name: other[1] for name in names.values()})
        found.update({names[variant]: code for variants, code in arms for variant in re.findall(r"::(\w+)\b(?!\()", variants) if variant in names})
    return found


def every_name_is_documented():
    findings = []
    for file in sorted(SRC.rglob("*.rs")):
        where = str(file.relative_to(SRC))
        if "fn name(self) -> &'static str" not in file.read_text() and "fn name(&self) -> &'static str" not in file.read_text():
            continue
        if where in FORWARDING:
            continue
        if where not in NAMES:
            findings.append(f"src/{where} names something: say in tests/judges/documented.py on which page")
            continue
        names = names_of(file)
        if not names:
            findings.append(f"no names were found in src/{where}")
        for name, doc in itertools.product(sorted(names), NAMES[where]):
            # Alone in backticks, as a key of a table, or as the first cell of a row.
            if not re.search(rf"`(\w+\.)?{name}`|^\| {name} \|", page(doc), re.M):
                findings.append(f"`{name}` of src/{where} is not in docs/{doc}")
    known = set().union(*(names_of(SRC / where) for where in ["edge/refused.rs", "token/mod.rs", "zone/access.rs"]))
    rows = first_cells(section(page("reference/tokens.md"), "## What the edge decides, in this order"))
    findings += [f"docs/reference/tokens.md has the refusal {name}, which there is not" for name in sorted(rows - known)]
    rows = first_cells(section(page("reference/origin.md"), "## Failures"))
    findings += [f"docs/reference/origin.md has the failure {name}, which there is not" for name in sorted(rows - names_of(SRC / "origin/failure.rs"))]
    table = section(page("reference/caching.md"), "## Cache status")
    known = names_of(SRC / "cache/lifetime.rs") | names_of(SRC / "telemetry/mod.rs")
    findings += [f"docs/reference/caching.md has the reason {name}, which there is not" for name in sorted(first_cells(table) - known)]
    for where, doc in [("edge/refused.rs", "reference/tokens.md"), ("origin/failure.rs", "reference/origin.md")]:
        for name, status in statuses_of(SRC / where).items():
            row = re.search(rf"^\| `{name}` \| (\d{{3}})", page(doc), re.M)
            if row and row[1] != status:
                findings.append(f"docs/{doc} says that {name} is {row[1]}; src/{where} says {status}")
            if not row and not re.search(rf"`{name}` \({status}\)", page(doc)):
                findings.append(f"docs/{doc} does not say that {name} is {status}")
    conclude(findings)


def every_limit_is_documented():
    """Each file with a `const MAX_…` is named in docs/reference/limits.md, and each place that it names is there.

    The defaults of keys (config/) have their rows by key, and the swarm has a page of its own.
    The defaults that docs/limits.md repeats are those of docs/configuration.md.
    """
    text = page("reference/limits.md")
    findings = []
    for file in sorted(SRC.rglob("*.rs")):
        where = str(file.relative_to(SRC))
        if where.startswith(("config/", "swarm/", "cli/")) or f"`{where}`" in text:
            continue
        code = file.read_text().partition("#[cfg(test)]")[0]
        for name in re.findall(r"\bconst (MAX_\w+|\w+_(?:TIMEOUT|LIMIT|DEADLINE)):", code):
            findings.append(f"{name} of src/{where}: docs/reference/limits.md does not name that file")
    keys = {f"{table}.{name}".removeprefix("zone.") for table, names in known_keys().items() for name in names}
    for place in re.findall(r"`([a-z_/]+\.rs|[a-z]+\.[a-z_]+)`", text):
        if place.endswith(".rs"):
            if not (SRC / place).exists():
                findings.append(f"docs/reference/limits.md names src/{place}, which there is not")
        elif place not in keys and not (ROOT / "config" / place).exists():
            findings.append(f"docs/reference/limits.md names the key {place}, which `check` does not know")
    rows = re.findall(r"^\| `(\w+)\.(\w+)` \| `([^`]+)` \|", page("limits.md"), re.M)
    for table, name, default in rows:
        described = section(page("configuration.md"), heading_of("zone.origin" if table == "origin" else table))
        if not re.search(rf"^\| `{name}` \| [^|]* \| `{re.escape(default)}` \|", described, re.M):
            findings.append(f"docs/limits.md says that {table}.{name} is {default}, which docs/configuration.md does not")
    expect(rows, "no defaults were found in docs/limits.md")
    conclude(findings)


def slug(heading):
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def the_pages_name_what_there_is():
    """Links, anchors, source files, make targets, commands and their options."""
    findings = []
    texts = pages()
    makefile = (ROOT / "Makefile").read_text()
    helps = {}
    for where, text in texts.items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            path = (ROOT / where).parent / file if file else ROOT / where
            if not path.exists():
                findings.append(f"{where}: the link {target} leads nowhere")
            elif anchor and anchor not in {slug(heading) for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.M)}:
                findings.append(f"{where}: no heading for {target}")
        for file in set(re.findall(r"`((?:[\w-]+/)*[\w-]+\.rs)`", text)):
            folders = [ROOT, SRC, ROOT / "tests" / "it", ROOT / "examples"]
            if not any((folder / file).exists() for folder in folders):
                findings.append(f"{where}: {file} is not there")
        for target in set(re.findall(r"(?:`|^|; )make ([a-z-]+)", text, re.M)):
            if not re.search(rf"^{target}:", makefile, re.M):
                findings.append(f"{where}: there is no `make {target}`")
        for command, rest in re.findall(r"\bwarren (sign|explain|check|serve|swarm)\b([^\n`|]*)", text):
            if command not in helps:
                done = subprocess.run([str(WARREN), command, "--help"], capture_output=True, text=True, check=True)
                helps[command] = set(re.findall(r"--[a-z-]+", done.stdout))
            for option in set(re.findall(r"(?<!\S)--[a-z-]+", rest)) - helps[command]:
                findings.append(f"{where}: `warren {command}` has no {option}")
    conclude(sorted(set(findings)))
