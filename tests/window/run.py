# SPDX-License-Identifier: GPL-3.0-or-later
"""Test the extension in a real Blender window: install the zip, open a window, run the scenarios, judge their verdicts.

    python tests/window/run.py --blender COMMAND [--tool] [--out FOLDER] [--record] [SCENARIO ...]

COMMAND is any Blender from 4.2 on, with arguments if need be ("flatpak run org.blender.Blender"). Blender gets a user
folder of its own and, where there is no display, one of Xvfb. With `--tool`, COMMAND is a wrapper that brings its own
root and screen: `COMMAND blender ARGS...` runs Blender on the command line with the current folder at /project, and
`COMMAND run SCRIPT OUT ARGS...` opens a window with OUT at /out.

Each scenario (tests/window/scenario_NAME.py) leaves verdict.json, blender.log and its screenshots in FOLDER/NAME, and
compares some of them with tests/window/reference. With `--record` they become the references, and what only takes the
README's pictures (tests/window/pictures_NAME.py) runs, too.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RECORD = "ESPALIER_WINDOW_RECORD"
MADE_WITH = "made_with.json"
"""Which Blender the references are of, and how large its window was."""
PYTHON_OF_BLENDER = "import sys; print('PYTHON=%d.%d' % sys.version_info[:2])"
GEOMETRY = ("--enable-event-simulate", "--window-geometry", "0", "0", "1600", "900")


class Blender:
    """A Blender on this machine, with a user folder of its own."""

    def __init__(self, command: str, folder: Path) -> None:
        self.command = shlex.split(command)
        self.env = {**os.environ, "BLENDER_USER_RESOURCES": str(folder / "user")}
        shutil.rmtree(folder / "user", ignore_errors=True)
        (folder / "user").mkdir(parents=True)

    def batch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Blender without a window, in the repository's root."""
        return _run([*self.command, *arguments], self.env)

    def forget(self) -> None:
        """Delete what the extension has kept, so that no scenario depends on those before it."""
        shutil.rmtree(Path(self.env["BLENDER_USER_RESOURCES"]) / "extensions" / ".user", ignore_errors=True)

    def window(self, script: Path, out: Path, limit_s: float) -> int:
        """Open a window, run `script` in it and return the exit status."""
        env = {**self.env, **_variables(script, out, HERE, limit_s)}
        with _display(env) as env, (out / "blender.log").open("w") as log:
            command = [*self.command, *GEOMETRY, "--python-exit-code", "3", "--python", str(script)]
            try:
                return subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=False,
                    env=env,
                    timeout=limit_s + 60,
                ).returncode
            except subprocess.TimeoutExpired:
                return 124


class Tool:
    """A wrapper that brings its own root folder, screen and screenshots."""

    def __init__(self, command: str) -> None:
        self.command = shlex.split(command)
        _run([*self.command, "sh", "sh", "-c", "rm -rf ~/.config/blender"], None)

    def batch(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Blender without a window; the repository's root is at /project."""
        return _run([*self.command, "blender", *arguments], None)

    def forget(self) -> None:
        """Delete what the extension has kept, so that no scenario depends on those before it."""
        _run([*self.command, "sh", "sh", "-c", "rm -rf ~/.config/blender/*/extensions/.user"], None)

    def window(self, script: Path, out: Path, limit_s: float) -> int:
        """Open a window with `out` at /out, run `script` in it and return the exit status."""
        inside = _variables(script, Path("/out"), Path("/project") / HERE.relative_to(ROOT), limit_s)
        starter = out / "start.py"
        lines = [f"import os, runpy\nos.environ.update({inside!r})\n"]
        lines.append(f"runpy.run_path({str(Path('/project') / script.relative_to(ROOT))!r}, run_name='__main__')\n")
        starter.write_text("".join(lines), "utf-8")
        env = {**os.environ, "WINDOW_S": f"{limit_s + 60:.0f}"}
        return _run([*self.command, "run", str(starter), str(out)], env).returncode


def main() -> int:
    """Run the scenarios and return 0 only if every verdict is good."""
    parser = argparse.ArgumentParser(description="Test the extension in a real Blender window.")
    parser.add_argument("--blender", default="blender", metavar="COMMAND")
    parser.add_argument("--tool", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "window")
    parser.add_argument("--limit", type=float, default=900.0, metavar="SECONDS")
    parser.add_argument("--record", action="store_true", help="make the screenshots the references")
    parser.add_argument("scenarios", nargs="*")
    arguments = parser.parse_args()
    command = arguments.blender or "blender"
    if shutil.which(shlex.split(command)[0]) is None:
        print(f"Error: {command} was not found. Name a Blender: make test-window BLENDER=command", file=sys.stderr)
        return 2
    if arguments.record:
        os.environ[RECORD] = "1"
    kinds = ("scenario", "pictures") if arguments.record else ("scenario",)
    paths = [path for kind in kinds for path in sorted(HERE.glob(f"{kind}_*.py"))]
    if arguments.scenarios:
        unknown = set(arguments.scenarios) - {_name(path) for path in paths}
        if unknown:
            parser.error(f"there is no scenario {', '.join(sorted(unknown))}")
        paths = [path for path in paths if _name(path) in arguments.scenarios]
    out: Path = arguments.out.resolve()
    blender = Tool(command) if arguments.tool else Blender(command, out)
    if not _install(blender):
        return 1
    results = [_scenario(blender, path, out / _name(path), arguments.limit) for path in paths]
    print(f"{sum(results)} of {len(results)} window scenarios passed; screenshots in {out}")
    return int(not all(results))


def _install(blender: Blender | Tool) -> bool:
    """Build the zip for this Blender's CPython and install it as a person would."""
    probe = blender.batch("-b", "--factory-startup", "--python-expr", PYTHON_OF_BLENDER)
    version = next((line.split("=")[1] for line in probe.stdout.splitlines() if line.startswith("PYTHON=")), "")
    if not version:
        print(f"Error: Blender did not start.\n{probe.stdout[-1500:]}{probe.stderr[-1500:]}", file=sys.stderr)
        return False
    build = subprocess.run(
        [sys.executable, ROOT / "wheels" / "build.py", "--python", version],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if build.returncode != 0:
        return False
    archive = Path(build.stdout.strip()).relative_to(ROOT)
    install = blender.batch("--command", "extension", "install-file", "-r", "user_default", "--enable", str(archive))
    words = install.stdout + install.stderr
    if install.returncode != 0 or "Error" in words or "Traceback" in words:
        print(f"Error: The zip could not be installed.\n{words[-3000:]}", file=sys.stderr)
        return False
    print(f"Installed {archive.name} into Blender with CPython {version}")
    return True


def _scenario(blender: Blender | Tool, script: Path, out: Path, limit_s: float) -> bool:
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    blender.forget()
    start = time.monotonic()
    status = blender.window(script, out, limit_s)
    seconds = time.monotonic() - start
    verdict_file = out / "verdict.json"
    if not verdict_file.exists():
        log = (out / "blender.log").read_text("utf-8", "replace") if (out / "blender.log").exists() else ""
        print(f"FAILED  {out.name}: no verdict, exit status {status}, {seconds:.0f} s\n{log[-3000:]}")
        return False
    verdict = json.loads(verdict_file.read_text("utf-8"))
    word = "passed " if verdict["ok"] else "FAILED "
    print(f"{word} {out.name} in Blender {verdict['blender']} ({seconds:.0f} s)")
    for item in verdict["checks"]:
        print(f"   {'ok  ' if item['ok'] else 'FAIL'} {item['what']}")
    for words in verdict["notes"]:
        print(f"   note {words}")
    if verdict["problem"]:
        print(verdict["problem"])
    if verdict["ok"] and os.environ.get(RECORD):
        _keep(out)
    return bool(verdict["ok"])


def _keep(out: Path) -> None:
    """Make what a scenario has recorded the references, in place of those it had and of all of another Blender."""
    recorded, references = out / "reference", HERE / "reference"
    told = [folder / MADE_WITH for folder in (recorded, references)]
    other = all(path.is_file() for path in told) and told[0].read_text("utf-8") != told[1].read_text("utf-8")
    for path in references.glob("*.png" if other else f"{out.name}-*.png"):
        path.unlink()
    if recorded.is_dir():
        shutil.copytree(recorded, references, dirs_exist_ok=True)


def _variables(script: Path, out: Path, scenarios: Path, limit_s: float) -> dict[str, str]:
    return {
        "ESPALIER_WINDOW_SCENARIO": _name(script),
        "ESPALIER_WINDOW_OUT": out.as_posix(),
        "ESPALIER_WINDOW_SCENARIOS": scenarios.as_posix(),
        "ESPALIER_WINDOW_LIMIT_S": str(limit_s),
        RECORD: os.environ.get(RECORD, ""),
    }


def _name(path: Path) -> str:
    """Return the name of a scenario."""
    return path.stem.partition("_")[2]


@contextmanager
def _display(env: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yield `env` with a display: the one that is there, or an Xvfb that lives as long as the block."""
    if sys.platform in ("win32", "darwin") or env.get("DISPLAY") or env.get("WAYLAND_DISPLAY"):
        yield dict(env)
        return
    if shutil.which("Xvfb") is None:
        sys.exit("Error: There is no display and no Xvfb. Install the package xvfb, or run this on a desktop.")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x900x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        if not number:
            sys.exit("Error: Xvfb did not start. Run it by hand to see why.")
        yield {**env, "DISPLAY": f":{number}", "LIBGL_ALWAYS_SOFTWARE": "1"}
    finally:
        server.terminate()
        server.wait()


def _run(command: list[str], env: Mapping[str, str] | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=ROOT,
        env=env,
    )


if __name__ == "__main__":
    sys.exit(main())
