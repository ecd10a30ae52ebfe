# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept in Blender's own preferences, for all files: who is asked at the remote API, and what it may cost."""

from __future__ import annotations

import os

import bpy

from ..engine.errors import EspalierError
from . import account, session
from .inquiry import ACCOUNT
from .key import told

VALUES = 0.4
"""Where the values begin beside the labels of split properties, as a share of the width."""


def _forget(_self: EspalierPreferences, _context: bpy.types.Context) -> None:
    """Let nothing count that another server answered, or the same one with another key."""
    session.session.inquiries.forget()


class EspalierPreferences(bpy.types.AddonPreferences):
    """The server, the key, and the limits of the remote engine."""

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

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the account, then what a person may be asked about."""
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
            _note(column, line, "CHECKMARK")


def _note_environment(column: bpy.types.UILayout, variable: str) -> None:
    if os.environ.get(variable):
        _note(column, f"The environment variable {variable} is set and comes first", "INFO")


def _note_error(column: bpy.types.UILayout, error: EspalierError) -> None:
    _note(column, error.cause, "ERROR")
    _note(column, error.remedy, "BLANK1")


def _note(column: bpy.types.UILayout, text: str, icon: str) -> None:
    """Draw a line below the values."""
    split = column.split(factor=VALUES)
    split.label()
    row = split.row()
    row.alert = icon == "ERROR"
    row.label(text=text, icon=icon)
