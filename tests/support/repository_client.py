# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender of its own that uses an extension repository, as a person does in the preferences; it prints what it sees.

    python -m tests.support.repository_client USER_FOLDER ACT...

where each ACT is `install URL IMAGE` (add the remote repository, sync, install, set a preference, generate an asset),
`upgrade` (sync and update), `restarted` (read the preferences that another process has saved) or
`publish FOLDER SERVED` (put a new repository where the server looks). The last line is JSON: what was seen of each act.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.support import extension

NAME = "espalier_repository"
MODULE = f"bl_ext.{NAME}.espalier"
LIMIT_USD = 3.5


def main() -> None:
    """Do what the command line asks for; see the module's own words."""
    user, *words = sys.argv[1:]
    extension.use(Path(user))
    import bpy

    extension.leave_early(bpy.app.version)
    seen: list[dict[str, Any]] = []
    while words:
        match words.pop(0):
            case "install":
                seen.append(install(words.pop(0), words.pop(0)))
            case "upgrade":
                seen.append(upgrade())
            case "publish":
                new, served = words.pop(0), words.pop(0)
                shutil.rmtree(served)
                shutil.copytree(new, served)
            case "restarted":
                bpy.ops.wm.read_userpref()  # Blender as a module starts without
    bpy.ops.wm.save_userpref()
    sys.modules[f"{MODULE}.operators.session"].session.close()
    print(f"\n{json.dumps(seen)}", flush=True)


def install(url: str, image: str) -> dict[str, Any]:
    """Add the repository at `url`, install from it and use what was installed."""
    import bpy

    bpy.context.preferences.system.use_online_access = True
    bpy.context.preferences.extensions.repos.new(name="Espalier", module=NAME, remote_url=url)
    options = {"repo_index": index(), "pkg_id": "espalier", "enable_on_install": True}
    acts = [bpy.ops.extensions.repo_sync(repo_index=index()), bpy.ops.extensions.package_install(**options)]
    bpy.context.preferences.addons[MODULE].preferences.ask_above_usd = LIMIT_USD
    acts.append(bpy.ops.espalier.generate("EXEC_DEFAULT", filepath=image))
    return {"finished": all(result == {"FINISHED"} for result in acts), "after": state()}


def upgrade() -> dict[str, Any]:
    """Look for updates and install them."""
    import bpy

    before = state()
    acts = [bpy.ops.extensions.repo_sync(repo_index=index()), bpy.ops.extensions.package_upgrade_all()]
    return {"finished": all(result == {"FINISHED"} for result in acts), "before": before, "after": state()}


def index() -> int:
    """Return the place of the repository among all."""
    import bpy

    return next(i for i, item in enumerate(bpy.context.preferences.extensions.repos) if item.module == NAME)


def state() -> dict[str, Any]:
    """Return what a person would look at: the version that runs, the jobs that are known, the setting."""
    import bpy

    module = importlib.import_module(MODULE)
    jobs = importlib.import_module(f"{MODULE}.operators.session").session.open_queue().jobs()
    return {
        "version": importlib.import_module(f"{MODULE}.engine").__version__,
        "file": module.__file__,
        "jobs": sorted([job.id, str(job.state.name)] for job in jobs),
        "limit": round(bpy.context.preferences.addons[MODULE].preferences.ask_above_usd, 3),
    }


if __name__ == "__main__":
    main()
