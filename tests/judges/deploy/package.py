#!/usr/bin/env python3
"""The Debian package, built from a binary that is there and installed into an empty root: package.py BINARY

What a release build would add is only another binary: the rest of the package
is the same. Needs cargo-deb, dpkg and systemd's tools, and root.
"""
import os
import pathlib
import re
import stat
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
SECRETS = ("cdn-security-key", "s3-access-key", "s3-secret-key")


def expect(condition, what):
    if not condition:
        sys.exit(f"{what}")


def run(*command, code=0, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    told = done.stdout + done.stderr
    expect(done.returncode == code, f"{' '.join(map(str, command))}: {done.returncode}\n{told}")
    return told


def build(binary, folder):
    # cargo-deb looks into the target folder of a release; a profile for it would be another compilation.
    release = folder / "target" / "release"
    release.mkdir(parents=True)
    (release / "warren").symlink_to(binary)
    run("make", "manual", f"WARREN={binary}", f"MANUAL={release}", cwd=ROOT)
    package = folder / "warren.deb"
    environment = {**os.environ, "CARGO_TARGET_DIR": str(folder / "target")}
    # A debug binary is large; the package's own compression is not what is asked here.
    run("cargo", "deb", "--no-build", "--locked", "--offline", "--no-strip", "--fast", "--output", package, cwd=ROOT, env=environment)
    return package


def dpkg(root, *words):
    # Scripts run outside the root, with DPKG_ROOT, because there is no shell in it.
    environment = {**os.environ, "DPKG_MAINTSCRIPT_DEBUG": "", "DEBIAN_FRONTEND": "noninteractive"}
    return run("dpkg", f"--root={root}", "--force-script-chrootless", "--force-depends", "--force-confold", *words, env=environment)


def empty_root(folder):
    root = folder / "root"
    for name in ("var/lib/dpkg/info", "var/lib/dpkg/updates", "etc", "run", "tmp"):
        (root / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "etc/group").write_text("root:x:0:\nadm:x:4:\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    return root


def numbers(file):
    """Names of a passwd or group file, with their numbers."""
    lines = [line.split(":") for line in file.read_text().splitlines()]
    return {fields[0]: int(fields[2]) for fields in lines}


def installed(root):
    users, groups = numbers(root / "etc/passwd"), numbers(root / "etc/group")
    expect("warren" in users and 0 < users["warren"] < 1000, f"no system user warren: {users}")
    entry = next(line for line in (root / "etc/passwd").read_text().splitlines() if line.startswith("warren:"))
    expect(entry.endswith(":/nonexistent:/usr/sbin/nologin"), f"the user can log in: {entry}")
    for path, owner, group, mode in [
        ("etc/warren/secrets", 0, groups["warren"], 0o750),
        ("var/lib/warren", users["warren"], groups["warren"], 0o750),
        ("var/log/warren", users["warren"], groups["adm"], 0o2750),
        ("etc/warren/warren.toml", 0, 0, 0o644),
        ("usr/bin/warren", 0, 0, 0o755),
    ]:
        found = (root / path).stat()
        found = (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
        expect(found == (owner, group, mode), f"{path}: {found}, not {(owner, group, mode)}")
    key = (root / "etc/warren/secrets/access-key")
    found = (len(key.read_text()), key.stat().st_gid, stat.S_IMODE(key.stat().st_mode))
    expect(found == (48, groups["warren"], 0o640), f"the access key: {found}")
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    expect(not wanted.exists(), "the package enables its service")
    strays = [str(path) for path in (root / "usr/share").rglob("*") if path.is_file() and stat.S_IMODE(path.stat().st_mode) != 0o644]
    expect(not strays, f"executable documents: {strays}")


def manual(root):
    """A page for each command, and completions that their shell reads."""
    said = run(root / "usr/bin/warren", "--help").split("Commands:")[1].split("Options:")[0]
    commands = [line.split()[0] for line in said.strip().splitlines() if line[2:3].strip()]
    pages = {path.name.split(".1")[0] for path in (root / "usr/share/man/man1").iterdir()}
    missing = {f"warren-{command}" for command in commands if command != "help"} - pages
    expect("warren" in pages and not missing, f"no manual page of {missing or 'warren'}")
    completions = root / "usr/share/bash-completion/completions/warren"
    offered = run("bash", "-c", f'. {completions}; COMP_WORDS=(warren tak); COMP_CWORD=1; _warren warren tak warren; echo "${{COMPREPLY[@]}}"')
    expect(offered.split() == ["takedown"], f"bash completes tak to {offered!r}")
    for path in ("usr/share/zsh/vendor-completions/_warren", "usr/share/fish/vendor_completions.d/warren.fish"):
        expect("takedown" in (root / path).read_text(), f"{path} does not know takedown")


def checked(root):
    """The packaged binary's word on the packaged configuration."""
    config, warren = root / "etc/warren/warren.toml", root / "usr/bin/warren"
    text = config.read_text()
    config.write_text(re.sub(r'"(/var/(log|lib)/)', rf'"{root}\1', text))
    said = run(warren, "check", "--config", config, code=64)
    expect(all(f"secrets/{name}" in said for name in SECRETS), f"without secrets `check` says\n{said}")
    for name in SECRETS:
        (root / "etc/warren/secrets" / name).write_text("0123456789abcdef\n")
    expect("ok, 1 zone(s)" in run(warren, "check", "--config", config), "the packaged configuration is not sound")
    config.write_text(text)


def unit(root):
    """The unit with its drop-in, as systemd reads it."""
    for tool in ("bin/sh", "sbin/nologin"):
        (root / tool).parent.mkdir(exist_ok=True)
        (root / tool).write_text("#!/bin/sh\n")
        (root / tool).chmod(0o755)
    # What it is ordered by; the machine's own would bring its other units along.
    units = root / "usr/lib/systemd/system"
    for name in ("sysinit", "basic", "shutdown", "network-online", "nss-lookup", "multi-user", "sockets"):
        (units / f"{name}.target").write_text("[Unit]\nDescription=here for this check\n")
    said = run("systemd-analyze", "verify", f"--root={root}", "--man=no", "--recursive-errors=no", units / "warren.service", units / "warren.socket")
    expect("warren" not in said, f"systemd-analyze verify says\n{said}")
    said = run("systemd-analyze", "security", "--offline=true", f"--root={root}", "--threshold=20", "--no-pager", "warren.service")
    return said.strip().splitlines()[-1].removeprefix("→ ")


def main():
    binary = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        package, root = build(binary, folder), empty_root(folder)
        dpkg(root, "--install", package)
        installed(root)
        manual(root)
        checked(root)
        score = unit(root)
        # What an operator wrote outlives an upgrade, and a purge takes it.
        config = root / "etc/warren/warren.toml"
        config.write_text(config.read_text() + "\n# mine\n")
        dpkg(root, "--install", package)
        expect(config.read_text().endswith("# mine\n"), "an upgrade overwrote the configuration")
        installed(root)
        (root / "var/log/warren/access.log").write_text("x\n")
        dpkg(root, "--purge", "warren")
        left = [str(path.relative_to(root)) for path in root.rglob("*warren*") if "dpkg" not in path.parts]
        expect(not left, f"a purge leaves {left}")
        print(f"{package.stat().st_size // 1_000_000} MB with a debug binary; {score}")


if __name__ == "__main__":
    main()
