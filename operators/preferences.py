# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept in Blender's own preferences, for all files: the remote API, the environments, and TRELLIS.2."""

from __future__ import annotations

import os
from collections.abc import Sequence

import bpy

from ..engine.backends.trellis2 import settings as variables
from ..engine.backends.trellis2.plans import PLANS
from ..engine.environments.weights_catalogue import BACKGROUND_MODELS
from ..engine.errors import EspalierError
from ..engine.words import size_words
from . import account, environments, library, library_use, session, trellis2
from .environment_rows import draw_environments
from .inquiry import ACCOUNT
from .key import told
from .languages import say, sentences
from .library_rows import draw_library
from .placement_settings import EspalierPlacement
from .text import VALUES, draw_note

PROXY = ("HTTPS_PROXY", "https_proxy")
DOWNLOADS = {
    "index_url": "index_url",
    "index_ca": "ca_bundle",
    "proxy": "proxy",
    "hub_url": "hub_url",
    "hub_token": "hub_token",
}
"""Preference -> the field of `Sources` that it fills."""
RUNNING = {
    "fast_mode": variables.FAST,
    "memory_plan": variables.PLAN,
    "background_model": variables.BACKGROUND,
    "stage_cache_gb": variables.STAGES_GB,
}
"""Preference of TRELLIS.2 -> the environment variable that comes first."""


def _forget(_self: EspalierPreferences, _context: bpy.types.Context) -> None:
    """Let nothing count that another server answered, or the same one with another key."""
    session.session.inquiries.forget()


def _look(_self: EspalierPreferences, _context: bpy.types.Context) -> None:
    """See how the environments of another place stand."""
    environments.look()


def _shelve(self: EspalierPreferences, _context: bpy.types.Context) -> None:
    """Show the library in the Asset Browser, or take it out of there."""
    library.retry() if self.asset_library else library.remove_entry()


def _measure(_self: EspalierPreferences, _context: bpy.types.Context) -> None:
    """See what would go now."""
    if not bpy.app.background:
        library_use.measure()


def _renew(_self: EspalierPreferences, _context: bpy.types.Context) -> None:
    """Let the next job of TRELLIS.2 run as it is wanted now."""
    trellis2.renew()


def _plan_items() -> list[tuple[str, str, str]]:
    plans = [(plan.name, plan.name.title(), plan.words.rstrip(".")) for plan in PLANS]
    return [(trellis2.AUTOMATIC, "Automatic", "The fastest that fits into the free memory of the GPU"), *plans]


def _background_items() -> list[tuple[str, str, str]]:
    return [(name, name, f"{(file.size or 0) / 1e6:.0f} MB") for name, file in BACKGROUND_MODELS.items()]


class EspalierPreferences(bpy.types.AddonPreferences):
    """The server, the key and the limits of the remote engine; where environments lie and come from."""

    bl_idname = account.PACKAGE

    base_url: bpy.props.StringProperty(
        name="Base URL",
        description="Address of the API, for a server of your own or a proxy; empty for the vendor's own. "
        "It must begin with https, except on this machine and in a private network",
        update=_forget,
    )
    api_key: bpy.props.StringProperty(
        name="API Key",
        description="Key of your account. It is kept in Blender's preferences, where other programs of yours can read "
        "it; the environment variable EMPIRIOLABS_API_KEY and the system's keyring come first",
        subtype="PASSWORD",
        update=_forget,
    )
    ca_bundle: bpy.props.StringProperty(
        name="CA Bundle",
        description="File with the certificate authorities (PEM) to trust instead of the usual ones, where a server or "
        "a proxy has a certificate of its own",
        subtype="FILE_PATH",
        update=_forget,
    )
    max_side: bpy.props.IntProperty(
        name="Longest Image Side",
        description="With Prepare Image on, images are scaled down to this many pixels before they are sent",
        default=1024,
        min=64,
        max=4096,
        subtype="PIXEL",
    )
    ask_above_usd: bpy.props.FloatProperty(
        name="Ask Above USD",
        description="Ask before something is sent that costs more than this; a batch counts as one",
        default=1.0,
        min=0.0,
        soft_max=100.0,
        precision=2,
        step=10,
    )

    environments_folder: bpy.props.StringProperty(
        name="Folder",
        description="Where environments and weights lie, several gigabytes with TRELLIS.2; empty for the extension's "
        "own folder. What was installed elsewhere stays there",
        subtype="DIR_PATH",
        update=_look,
    )
    index_url: bpy.props.StringProperty(
        name="Package Index",
        description="Address of a mirror of the Python package index, with its /simple/; empty for what "
        "UV_DEFAULT_INDEX, UV_INDEX_URL or PIP_INDEX_URL say, else pypi.org",
    )
    index_ca: bpy.props.StringProperty(
        name="Index CA Bundle",
        description="File with certificate authorities (PEM) for downloads, where a proxy or a mirror has a "
        "certificate of its own; empty for what REQUESTS_CA_BUNDLE or SSL_CERT_FILE say",
        subtype="FILE_PATH",
    )
    proxy: bpy.props.StringProperty(
        name="Proxy",
        description="Address of a proxy for downloads; empty for what HTTPS_PROXY and NO_PROXY say. "
        "One with a password is better kept there",
    )
    hub_url: bpy.props.StringProperty(
        name="Hugging Face",
        description="Address of a mirror of Hugging Face; empty for what HF_ENDPOINT says, else huggingface.co",
    )
    hub_token: bpy.props.StringProperty(
        name="Hugging Face Token",
        description="Token for weights that need an account; empty for what HF_TOKEN says. It is kept in Blender's "
        "preferences, where other programs of yours can read it",
        subtype="PASSWORD",
    )
    allow_unlocked: bpy.props.BoolProperty(
        name="Allow Packages Without a Locked Hash",
        description="Install also packages whose exact files were not known when this version was made. They still "
        "come from their own source only",
        default=False,
    )

    fast_mode: bpy.props.BoolProperty(
        name="Fast Mode",
        description="Reuse what changes little between steps; an approximation",
        default=False,
        update=_renew,
    )
    memory_plan: bpy.props.EnumProperty(
        name="Memory Plan",
        description="Which models stay on the GPU. What does not fit goes over to the next one by itself",
        items=_plan_items(),
        update=_renew,
    )
    background_model: bpy.props.EnumProperty(
        name="Background Model",
        description="What removes backgrounds for TRELLIS.2. birefnet-general comes with its weights, the lighter ones "
        "with those of Background Removal; where the chosen one is not there, another one is used",
        items=_background_items(),
        default=variables.BACKGROUND_MODEL,
        update=_renew,
    )
    stage_cache_gb: bpy.props.FloatProperty(
        name="Stage Cache (GB)",
        description="Most that finished stages take on the disk, the oldest leaving first. With them, a new texture or "
        "another export repeats nothing that is there already; 0 keeps none",
        default=variables.CACHE_GB,
        min=0.0,
        soft_max=200.0,
        precision=1,
        step=100,
        update=_renew,
    )

    placement: bpy.props.PointerProperty(type=EspalierPlacement)
    asset_library: bpy.props.BoolProperty(
        name="Show in Asset Browser",
        description="Make each result an asset, beside Blender and while it is used, in the asset library Espalier",
        default=True,
        update=_shelve,
    )
    library_keep_days: bpy.props.IntProperty(
        name="Keep for Days",
        description="Clean Up deletes what is older than this; 0 keeps it for ever",
        default=0,
        min=0,
        soft_max=365,
        update=_measure,
    )
    library_keep_gb: bpy.props.FloatProperty(
        name="Keep at Most (GB)",
        description="Clean Up deletes the oldest results until the library takes no more than this; 0 is no limit",
        default=0.0,
        min=0.0,
        soft_max=200.0,
        precision=1,
        step=100,
        update=_measure,
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Draw the account, what a person may be asked about, the environments, TRELLIS.2, then the library."""
        # Here, for enabling the extension must not wait for what only the remote engine needs.
        from ..engine.backends.remote.account import KEY_VARIABLE, URL_VARIABLE, VENDOR_URL

        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.label(text="Remote API")
        column = layout.column()
        column.prop(self, "base_url", placeholder=VENDOR_URL)
        _note_environment(column, URL_VARIABLE)
        try:
            account.address()
        except EspalierError as error:
            _note_error(column, error)
        column.prop(self, "api_key")
        _note_environment(column, KEY_VARIABLE)
        column.prop(self, "ca_bundle")
        _draw_test(column)
        layout.separator()
        column = layout.column()
        column.prop(self, "max_side")
        column.prop(self, "ask_above_usd")
        layout.separator()
        self._draw_environments(context)
        layout.separator()
        _draw_trellis2(layout.box().column(), self)
        layout.separator()
        draw_library(layout.column(), context, self)

    def _draw_environments(self, context: bpy.types.Context) -> None:
        from ..engine.environments.sources import DEFAULT_HUB, DEFAULT_INDEX, VARIABLES

        usual = {"index_url": DEFAULT_INDEX, "hub_url": DEFAULT_HUB}
        layout = self.layout
        row = layout.row()
        row.label(text="Engines and Environments")
        row.operator("espalier.look_at_environments", text="", icon="FILE_REFRESH")
        draw_environments(layout, context)
        column = layout.column()
        column.enabled = not environments.state.working
        column.prop(self, "environments_folder", placeholder="The extension's own folder")
        for name, field in DOWNLOADS.items():
            column.prop(self, name, placeholder=usual.get(name, ""))
            if not getattr(self, name):
                _note_taken(column, VARIABLES.get(field, PROXY))
        column.prop(self, "allow_unlocked")


def _draw_trellis2(column: bpy.types.UILayout, chosen: EspalierPreferences) -> None:
    """Draw how TRELLIS.2 runs on this machine, and what its finished stages take."""
    column.label(text="TRELLIS.2 on This GPU")
    for name, variable in RUNNING.items():
        column.prop(chosen, name)
        _note_environment(column, variable)
    size = trellis2.stages_bytes()
    split = column.split(factor=VALUES)
    split.label()
    row = split.row(align=True)
    words = say("Not measured yet") if size is None else say("{size} in use", size=size_words(size))
    row.label(text=words, translate=False)
    row.operator("espalier.measure_stages")
    row.operator("espalier.clear_stages", icon="TRASH")


def _draw_test(column: bpy.types.UILayout) -> None:
    """Draw Test Key with what was answered."""
    inquiry = session.session.inquiries.of(ACCOUNT)
    split = column.split(factor=VALUES)
    split.label()
    split.operator("espalier.test_key", text="Asking..." if inquiry.waiting else "Test Key")
    if inquiry.error is not None:
        _note_error(column, inquiry.error)
    elif not inquiry.waiting:
        for line in told(inquiry.answer):
            draw_note(column, line, "CHECKMARK")


def _note_environment(column: bpy.types.UILayout, variable: str) -> None:
    if os.environ.get(variable):
        draw_note(column, say("The environment variable {name} is set and comes first", name=variable), "INFO")


def _note_taken(column: bpy.types.UILayout, variables: Sequence[str]) -> None:
    """Tell of the first of `variables` that is set that it is what counts as long as the field above is empty."""
    found = next((variable for variable in variables if os.environ.get(variable)), "")
    if found:
        draw_note(column, say("Empty, so the environment variable {name} counts", name=found), "INFO")


def _note_error(column: bpy.types.UILayout, error: EspalierError) -> None:
    cause, remedy = sentences(error)
    draw_note(column, cause, "ERROR")
    draw_note(column, remedy, "BLANK1")
