"""Backends in four languages (examples/backend) sign, and the edge decides.

Each signs a table of odd paths in every scheme and form; `warren explain` lets
the URL in, and refuses it by name once anything in it is changed. Then come the
vectors, whose tokens each must make.
"""
import base64
import collections
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

from verdict import Skipped, expect

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "backend"
WARREN = ROOT / "target" / "debug" / "warren"
BASE = "https://cdn.example.net"
KEY = "judge-key-0123456789abcdef"
EXPIRES = 1893456000

ODD_PATHS = [
    "/v/s1/master.m3u8",
    "/v/s1/with space.ts",
    "/v/s1/plus+sign.ts",
    "/v/s1/ümläut.ts",
    "/v/s1/日本.ts",
    "/v/s1/100%.ts",
    "/v/s1/100%25.ts",
    "/v/s1/%2F is text.ts",
    "/v/s1/a=b&c;d,e.ts",
    "/v/s1/what?.ts",
    "/v/s1/no#1.ts",
    "/v/s1/!$'()*:@[]~_-.ts",
]
ADDRESS = "203.0.113.7"
# What may stand in a token besides path and expiry, as arguments of the examples.
EXTRAS = {
    "query": (["--form", "query"], []),
    "path, one object": (["--form", "path"], []),
    "path, a folder": (["--form", "path"], ["token_path=/v/s1/"]),
    "query, a folder, with a limit": (["--form", "query"], ["token_path=/v/s1", "limit=500"]),
    "path, a folder, for one address, with countries": (
        ["--form", "path", "--ip", ADDRESS],
        ["token_path=/v/s1/", "token_countries=CH,FR"],
    ),
}


def signer(language):
    """The command that signs in this language."""
    if language == "Python":
        return [sys.executable, str(EXAMPLES / "sign.py")]
    if language == "Node":
        return [found("node"), str(EXAMPLES / "sign.mjs")]
    if language == "PHP":
        return [found("php"), str(EXAMPLES / "sign.php")]
    return [built_go()]


def found(program, where=None):
    path = shutil.which(program, path=where)
    if not path:
        raise Skipped(f"{program} is not installed")
    return path


@functools.cache
def built_go():
    """The Go example, by the Go compiler or else by gcc's."""
    go, gccgo = shutil.which("go"), shutil.which("gccgo")
    if not go and not gccgo:
        raise Skipped("neither go nor gccgo is installed")
    built_go.folder = tempfile.TemporaryDirectory(prefix="judge-go-")
    program = f"{built_go.folder.name}/sign"
    compiler = [go, "build"] if go else [gccgo]
    environment = {"GOTOOLCHAIN": "local", "GOFLAGS": "", "GOCACHE": f"{built_go.folder.name}/cache"}
    command = [*compiler, "-o", program, str(EXAMPLES / "sign.go")]
    subprocess.run(command, check=True, capture_output=True, cwd=EXAMPLES, env={**os.environ, **environment})
    return program


def sign(command, path, expires=EXPIRES, params=(), options=(), key=KEY, base=BASE):
    """The URL, or None where the example refuses to make one."""
    environment = {**os.environ, "CDN_BASE_URL": base, "CDN_SECURITY_KEY": key}
    done = subprocess.run([*command, *options, path, str(expires), *params], capture_output=True, text=True, env=environment)
    return done.stdout.strip() if done.returncode == 0 else None


@functools.cache
def explain(url, *options, key=KEY, at=EXPIRES - 60):
    """What `warren explain` says: its JSON."""
    command = [str(WARREN), "explain", url, "--key", key, "--at", str(at), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    expect(done.returncode in (0, 1), f"{url}: {done.stderr}")
    said = json.loads(done.stdout)
    expect(said["allow"] == (done.returncode == 0), f"{url}: exit code {done.returncode} with {said}")
    return said


def replaced(url, pattern, text):
    """The URL with one thing changed."""
    changed = re.sub(pattern, lambda _: text, url, count=1)
    expect(changed != url, f"nothing to change: {pattern} in {url}")
    return changed


def tampered(url, params):
    """Changed URLs, and the reasons for which each may be refused."""
    digest = re.search(r"token=(?:HS256-(?:1-)?)?(.)", url)
    other = "B" if digest[1] == "A" else "A"
    yield "the token", url[: digest.start(1)] + other + url[digest.end(1) :], ["bad_signature"]
    yield "the expiry", replaced(url, rf"expires={EXPIRES}", f"expires={EXPIRES + 3600}"), ["bad_signature"]
    yield "the path", replaced(url, r"/v/s1/(?=[^/]*[^/])(?!.*/v/s1/)", "/v/s2/"), ["bad_signature", "wrong_path"]
    yield "one more parameter", url + ("&" if "?" in url else "?") + "x=1", ["bad_signature"]
    if any(param.startswith("limit=") for param in params):
        yield "the limit", replaced(url, "limit=500", "limit=9999"), ["bad_signature"]
    if any(param.startswith("token_countries=") for param in params):
        yield "the countries", replaced(url, "token_countries=CH", "token_countries=DE"), ["bad_signature"]
    if any(param.startswith("token_path=") for param in params):
        yield "the folder", replaced(url, "token_path=%2Fv%2Fs1", "token_path=%2Fv"), ["bad_signature"]


def signs_what_the_edge_lets_in(language):
    def judge():
        command = signer(language)
        for path in ODD_PATHS:
            for scheme in ("hs256", "sha256"):
                for name, (options, params) in EXTRAS.items():
                    case = f"{scheme}, {name}, {path}"
                    url = sign(command, path, params=params, options=["--scheme", scheme, *options])
                    expect(url and url.startswith(BASE + "/"), f"{case}: no URL, but {url!r}")
                    viewer = ("--client-ip", ADDRESS, "--country", "CH")
                    said = explain(url, *viewer)
                    expect((said["reason"], said["scheme"], said["path"]) == ("ok", scheme, path), f"{case}: {url}: {said}")
                    if path not in ODD_PATHS[:2]:
                        continue
                    for what, changed, reasons in tampered(url, params):
                        said = explain(changed, *viewer)
                        expect(not said["allow"] and said["reason"] in reasons, f"{case}, changed {what}: {changed}: {said}")
                    said = explain(url, *viewer, key="another-key")
                    expect(said["reason"] == "bad_signature", f"{case}, with another key: {said}")
                    said = explain(url, *viewer, at=EXPIRES + 1)
                    expect(said["reason"] == "expired", f"{case}, too late: {said}")
                    if "--ip" in options:
                        for elsewhere, reason in [
                            (("--client-ip", "198.51.100.1", "--country", "CH"), "bad_signature"),
                            (("--client-ip", ADDRESS, "--country", "DE"), "country_blocked"),
                        ]:
                            said = explain(url, *elsewhere)
                            expect(said["reason"] == reason, f"{case}, {elsewhere}: {said}")
        md5(command)
        addresses(command)
        mistakes(command)
        vectors(command)
        the_page_runs_as_it_stands(language)
    return judge


def md5(command):
    """The oldest scheme, for those who come from nginx: one object in the query, and only where it is allowed."""
    option = ["--scheme", "md5"]
    for path in ODD_PATHS:
        url = sign(command, path, options=option)
        said = explain(url, *option)
        expect((said["reason"], said["scheme"], said["path"]) == ("ok", "md5", path), f"md5, {path}: {url}: {said}")
        expect(explain(url)["reason"] == "scheme_not_allowed", f"md5, {path}: let in by default")
    url = sign(command, ODD_PATHS[0], options=option)
    for what, changed, reasons in tampered(url, []):
        # No parameter is signed, and none that means nothing is refused.
        reasons = ["ok"] if what == "one more parameter" else reasons
        said = explain(changed, *option)
        expect(said["reason"] in reasons, f"md5, changed {what}: {changed}: {said}")
    expect(explain(url, *option, at=EXPIRES + 1)["reason"] == "expired", "md5, too late")
    for more, params in ([["--form", "path"], []], [["--ip", ADDRESS], []], [[], ["token_path=/v/s1/"]]):
        expect(sign(command, "/v/s1/a.ts", params=params, options=[*option, *more]) is None, f"md5 signs {more} {params}")


def addresses(command):
    """HMAC signs 64 bits of IPv6, SHA-256 its whole text; an IPv4-mapped address is IPv4."""
    table = [
        ("2001:db8:85a3::1", "hs256", "2001:db8:85a3:0:ffff::9", "ok"),
        ("2001:db8:85a3::1", "hs256", "2001:db8:85a3:1::1", "bad_signature"),
        ("::1", "hs256", "::2", "ok"),
        ("2001:DB8:0:0:1:0:0:1", "sha256", "2001:db8::1:0:0:1", "ok"),
        ("2001:db8::1", "sha256", "2001:db8::2", "bad_signature"),
        ("::ffff:203.0.113.7", "hs256", ADDRESS, "ok"),
        ("::ffff:203.0.113.7", "sha256", ADDRESS, "ok"),
        ("203.0.113.0", "hs256", ADDRESS, "ok"),
    ]
    for signed, scheme, viewer, reason in table:
        url = sign(command, "/a.ts", options=["--scheme", scheme, "--ip", signed])
        said = explain(url, "--client-ip", viewer, "--validate-ip")
        expect(said["reason"] == reason, f"{scheme} for {signed}, seen from {viewer}: {url}: {said}")


def mistakes(command):
    """What the table in docs/backend.md says of a backend's mistakes."""
    for expires in (EXPIRES * 1000, 60, 0):
        expect(sign(command, "/a.ts", expires) is None, f"signs until {expires}")
    expect(sign(command, "/a.ts", key="") is None, "signs without a key")
    folder = ["token_path=/v/s1/"]
    good = sign(command, "/v/s1/a.ts")
    path_form = sign(command, "/v/s1/a.ts", params=folder, options=["--form", "path"])
    ignoring = sign(command, "/v/s1/a.ts", params=[*folder, "token_ignore_params=true"], options=["--form", "path"])
    far = sign(command, "/v/s1/a.ts", EXPIRES + 401 * 86400)
    flagless = ["--validate-ip"]
    table = [
        ("no token", BASE + "/v/s1/a.ts", [], "missing"),
        ("milliseconds", replaced(good, rf"expires={EXPIRES}", f"expires={EXPIRES}000"), [], "malformed"),
        ("a hexadecimal digest", replaced(good, r"token=[^&]*", "token=" + "0123456789abcdef" * 4), [], "malformed"),
        ("plain base64", replaced(good, r"(?<=token=HS256-.{10}).", "/"), [], "malformed"),
        ("both forms", path_form + "?" + good.partition("?")[2], [], "malformed"),
        ("an empty segment", sign(command, "/v/s1//a.ts"), [], "bad_path"),
        ("a parameter twice", sign(command, "/a.ts", params=["v=1"]) + "&v=2", [], "malformed"),
        ("an ampersand in a value", sign(command, "/a.ts", params=["title=a&b"]), [], "malformed"),
        ("a folder without its slash", sign(command, "/v/s1/a.ts", params=["token_path=v/s1/"]), [], "malformed"),
        ("a limit that is none", sign(command, "/v/s1/a.ts", params=["limit=0"]), [], "malformed"),
        ("a scheme that is off", sign(command, "/a.ts", options=["--scheme", "sha256"]), ["--scheme", "hs256"], "scheme_not_allowed"),
        ("beyond 400 days", far, [], "expires_too_far"),
        ("another folder", sign(command, "/v/s2/a.ts", params=folder), [], "wrong_path"),
        ("an encoded folder", sign(command, "/a b/c.ts", params=["token_path=/a%20b/"]), [], "ok"),
        ("one that is encoded twice", sign(command, "/a b/c.ts", params=["token_path=/a%2520b/"]), [], "wrong_path"),
        ("no address where one is demanded", good, flagless, "wrong_ip"),
        ("the same with SHA-256", sign(command, "/v/s1/a.ts", options=["--scheme", "sha256"]), flagless, "bad_signature"),
        ("a parameter of a player's", path_form + "?_HLS_msn=4&CMCD=br%3D300", [], "ok"),
        ("one of nobody's", path_form + "?x=4", [], "bad_signature"),
        ("the same, provided for", ignoring + "?x=4", [], "ok"),
        ("an encoded slash", BASE + "/v%2Fs1/a.ts" + good.partition("a.ts")[2], [], "bad_path"),
        ("a raw space", BASE + "/v/s1/a b.ts" + good.partition("a.ts")[2], [], "bad_path"),
    ]
    for name, url, options, reason in table:
        said = explain(url, *options)
        expect(said["reason"] == reason, f"{name}: {url}: {said}")
    reasons = {reason for _, _, _, reason in table} - {"ok"}
    refused = (ROOT / "docs" / "backend.md").read_text().partition("## When a URL is refused")[2]
    missing = {reason for reason in reasons if f"`{reason}`" not in refused}
    expect(not missing, f"docs/backend.md does not speak of {missing}")


def vectors(command):
    """Each token that tests/fixtures/vectors/sign.json expects, and what the edge says of the URL."""
    table = json.loads((ROOT / "tests" / "fixtures" / "vectors" / "sign.json").read_text())
    asked = 0
    for vector in table:
        name, scheme, expires = vector["name"], vector["scheme"], vector["expires"]
        split = urllib.parse.urlsplit(vector["url"])
        query = urllib.parse.parse_qsl(split.query, keep_blank_values=True)
        # The examples take a path, without dot segments or an encoded slash, and no name twice; MD5 without an address.
        odd = not split.path or "/../" in split.path or "%2F" in split.path
        known = ("hs256", "sha256") if vector["ip"] else ("hs256", "sha256", "md5")
        if scheme not in known or odd or vector["expected_url"] is None:
            continue
        given = collections.defaultdict(str, vector["params"])
        params = dict(query)
        for field in ("token_countries", "token_countries_blocked", "limit"):
            if given[field]:
                params[field] = str(given[field])
        if given["token_ignore_params"]:
            params = {"token_ignore_params": "true"}
        if given["token_path"]:
            params["token_path"] = given["token_path"]
        options = ["--scheme", scheme, "--form", "path" if given["directory"] else "query"]
        options += ["--ip", vector["ip"]] if vector["ip"] else []
        path = urllib.parse.unquote(split.path)
        pairs = [f"{key}={value}" for key, value in params.items()]
        base = f"{split.scheme}://{split.netloc}"
        url = sign(command, path, expires, pairs, options, vector["security_key"], base)
        asked += 1
        if not 10**9 <= expires < 10**10:
            expect(url is None, f"{name}: {url}")
            continue
        # The vector hashes the mapped text and the examples the IPv4; the edge takes both.
        mapped = scheme == "sha256" and vector["ip"].startswith("::ffff:")
        want = vector["expected_url"]
        same = urllib.parse.unquote(url or "") == urllib.parse.unquote(want)
        expect(mapped or same and vector["expected_token"] in url, f"{name}: {url} and not {want}")
        viewer = ["--client-ip", vector["ip"] or "192.0.2.1"]
        viewer += ["--scheme", "md5"] if scheme == "md5" else []
        if given["token_countries"]:
            viewer += ["--country", given["token_countries"][:2]]
        said = explain(url, *viewer, key=vector["security_key"], at=expires - 60)
        expect(said["reason"] == vector.get("edge_refuses", "ok"), f"{name}: {url}: {said}")
    expect(asked >= 102, f"only {asked} vectors were asked")


# How each language's code is run out of docs/backend.md: what stands before it, and a call behind it.
CALLS = {
    "Python": ("py", "", """
import os
print(sign(os.environ["CDN_BASE_URL"], os.environ["CDN_SECURITY_KEY"], "/v/s1/a b.ts", EXPIRES, {"token_path": "/v/s1/"}))
"""),
    "Node": ("mjs", "", """
console.log(sign({ base: process.env.CDN_BASE_URL, key: process.env.CDN_SECURITY_KEY, path: "/v/s1/a b.ts", expires: EXPIRES,
  params: { token_path: "/v/s1/" } }));
"""),
    "PHP": ("php", "<?php\n", """
echo sign(getenv('CDN_BASE_URL'), getenv('CDN_SECURITY_KEY'), '/v/s1/a b.ts', EXPIRES, ['token_path' => '/v/s1/']), "\\n";
"""),
    "Go": ("go", "package signer\n\n", """
// Call is what a program's main would call.
func Call(base, key string) (string, error) {
	return Sign(base, key, "/v/s1/a b.ts", EXPIRES, Options{Params: map[string]string{"token_path": "/v/s1/"}})
}
"""),
}
GO_MAIN = """package main

import (
	"fmt"
	"os"
	"signer"
)

func main() {
	url, err := signer.Call(os.Getenv("CDN_BASE_URL"), os.Getenv("CDN_SECURITY_KEY"))
	if err != nil {
		panic(err)
	}
	fmt.Println(url)
}
"""


def the_page_runs_as_it_stands(language):
    """What docs/backend.md shows of a language is all that a file of it needs."""
    ending, before, call = CALLS[language]
    page = (ROOT / "docs" / "backend.md").read_text()
    shown = re.search(rf"^## {language}\n.*?^```\w+\n(.*?)^```", page, re.M | re.S)[1]
    with tempfile.TemporaryDirectory(prefix="judge-page-") as folder:
        file = pathlib.Path(folder) / f"signer.{ending}"
        file.write_text(before + shown + call.replace("EXPIRES", str(EXPIRES)))
        command = run_by(language, file)
        environment = {**os.environ, "CDN_BASE_URL": BASE, "CDN_SECURITY_KEY": KEY}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    expect(done.returncode == 0, f"docs/backend.md, {language}: {done.stdout}{done.stderr}")
    said = explain(done.stdout.strip())
    expect(said["reason"] == "ok" and said["signed_path"] == "/v/s1/", f"docs/backend.md, {language}: {done.stdout}: {said}")


def run_by(language, file):
    """The command that runs a file of this language; of Go a package and a program around it."""
    if language != "Go":
        return [{"Python": sys.executable, "Node": "node", "PHP": "php"}[language], str(file)]
    folder = file.parent
    (folder / "main").mkdir()
    (folder / "main" / "main.go").write_text(GO_MAIN)
    go, program = shutil.which("go"), str(folder / "program")
    if go:
        (folder / "go.mod").write_text("module signer\n")
        environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOCACHE": str(folder / "cache")}
        build = [[go, "build", "-o", program, "./main"]]
    else:
        environment = None
        build = [["gccgo", "-c", "-fgo-pkgpath=signer", "-o", "signer.o", file.name], ["gccgo", "-o", program, "main/main.go", "signer.o"]]
    for command in build:
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
        expect(done.returncode == 0, f"docs/backend.md, {language}: {done.stderr}")
    return [program]


def docs_quote_the_examples():
    """docs/backend.md shows the files' own text, and docs/reference/tokens.md's Python works."""
    page = (ROOT / "docs" / "backend.md").read_text()
    for file in sorted(EXAMPLES.glob("sign.*")):
        text = file.read_text()
        quoted = re.search(r"docs/backend\.md begins\n(.*?)\n[^\n]*docs/backend\.md ends", text, re.S)
        expect(quoted, f"{file.name} has no marks")
        expect(quoted[1].strip() in page, f"docs/backend.md does not quote {file.name} as it is")
    shell = re.search(r"in a shell:\n\n```sh\n(.*?)```", page, re.S)[1]
    found("openssl")
    done = subprocess.run(["sh", "-euc", shell], capture_output=True, text=True, env={**os.environ, "CDN_BASE_URL": BASE, "CDN_SECURITY_KEY": KEY})
    said = explain(done.stdout.strip(), at=int(time.time()))
    expect((said["reason"], said["scheme"]) == ("ok", "sha256"), f"docs/backend.md, the shell: {done.stdout}{done.stderr}: {said}")
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "reference" / "tokens.md").read_text(), re.S):
        names = {}
        exec(compile(code, "docs/reference/tokens.md", "exec"), names)
        made = {
            "sign": lambda sign: sign("/v/s1/a.ts", KEY),
            "sign_folder": lambda sign: sign("/v/s1/", "/v/s1/a.ts", KEY),
            "sign_md5": lambda sign: sign("/v/s1/a b.ts", KEY),
        }
        urls = [call(names[name]) for name, call in made.items() if name in names]
        expect(urls, f"docs/reference/tokens.md: nothing in it signs:\n{code}")
        for url in urls:
            said = explain(url, "--scheme", "hs256", "--scheme", "md5", at=int(time.time()))
            expect(said["reason"] == "ok", f"docs/reference/tokens.md: {url}: {said}")


def nginx_takes_both_forms():
    """What docs/reference/tokens.md tells nginx to do while a backend moves: both forms, and nothing forged."""
    nginx = found("nginx", f"{os.environ['PATH']}:/usr/sbin:{ROOT / 'target' / 'judges' / 'bin'}")
    page = (ROOT / "docs" / "reference" / "tokens.md").read_text().partition("## Moving from nginx secure_link")[2]
    before, maps, lines = re.findall(r"```nginx\n(.*?)```", page, re.S)
    location = before[: before.index("  proxy_pass")]
    two = re.search(r"  secure_link .*?;\n  secure_link_md5\n.*?;\n", location, re.S)[0]
    after = location.replace(two, lines)
    new = "a-newer-key-of-the-edge"
    expires = int(time.time()) + 3600
    over = int(time.time()) - 60
    paths = [path for path in ODD_PATHS if "%2F" not in path]

    def link(text):
        return base64.urlsafe_b64encode(hashlib.md5(text.encode()).digest()).decode().rstrip("=")

    def old(path, until=expires, secret="SECRET", signed=None):
        return f"{urllib.parse.quote(path)}?md5={link(f'{until}{signed or path} {secret}')}&expires={until}"

    def md5_of(path, until=expires, key=new):
        return sign([sys.executable, str(EXAMPLES / "sign.py")], path, until, options=["--scheme", "md5"], key=key, base="http://nginx")[12:]

    @contextlib.contextmanager
    def answers(config):
        """What nginx says to each URL, the configuration being this."""
        with tempfile.TemporaryDirectory(prefix="judge-nginx-") as folder:
            os.chmod(folder, 0o755)
            socket = f"{folder}/socket"
            files = {name: f"{folder}/{name}" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")}
            temporary = "".join(f"{name}_temp_path {path};\n" for name, path in files.items())
            file = pathlib.Path(folder) / "nginx.conf"
            text = f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\nhttp {{ access_log off; {temporary}{config} }}"
            file.write_text(text.replace("listen socket", f"listen unix:{socket}"))
            child = subprocess.Popen([nginx, "-c", str(file)], stderr=subprocess.PIPE, text=True)
            try:
                deadline = time.monotonic() + 10
                while not os.path.exists(socket):
                    expect(child.poll() is None, f"nginx does not start: {child.stderr and child.stderr.read()}")
                    expect(time.monotonic() < deadline, "nginx does not listen")
                    time.sleep(0.02)
                yield lambda url: status(socket, url)
            finally:
                child.terminate()
                child.wait(10)

    def status(socket, url):
        command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is", "--unix-socket", socket, f"http://nginx{url}"]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def server(maps, location):
        return f"{maps}\nserver {{ listen socket; {location}  return 204; }} }}"

    found("curl")
    with answers(server("", location)) as says:
        for path in paths:
            expect(says(old(path)) == 204, f"nginx as it was refuses {path}")
        expect(says(md5_of(paths[0])) == 403, "nginx as it was takes the edge's form")
    with answers(server(maps.replace("KEY", new), after)) as says:
        for path in paths:
            expect(says(old(path)) == 204, f"refuses the old form of {path}")
            url = md5_of(path)
            expect(says(url) == 204, f"refuses the new form of {path}: {url}")
            said = explain(url, "--scheme", "md5", key=new, at=int(time.time()))
            expect(said["reason"] == "ok", f"the edge and nginx differ: {url}: {said}")
        path = "/v/s1/chunk17"
        moved = md5_of(path).replace("/chunk17?", "/chunk1?").replace(f"expires={expires}", f"expires=7{expires}")
        table = [
            ("the old form, over", old(path, over), 410),
            ("the new form, over", md5_of(path, over), 410),
            ("the old form with the new key", old(path, secret=new), 403),
            ("the new form with the old key", md5_of(path, key="SECRET"), 403),
            ("the old form of another path", old(path, signed="/v/s2/a.ts"), 403),
            ("the new form of another path", md5_of("/v/s2/a.ts").replace("/v/s2/a.ts", path), 403),
            ("a boundary that was moved", moved, 403),
            ("an old token as a new one", old(path).replace("md5=", "token="), 403),
            ("a new token as an old one", md5_of(path).replace("token=", "md5="), 403),
            ("no token", path, 403),
            ("no expiry", md5_of(path).partition("&")[0], 403),
        ]
        for name, url, wanted in table:
            got = says(url)
            expect(got == wanted, f"{name}: {url}: {got} and not {wanted}")
