# SPDX-License-Identifier: GPL-3.0-or-later
"""A layout that remembers what is drawn, for panels where there is no window."""

from __future__ import annotations

from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import bpy


class Drawing:
    """Takes what `bpy.types.UILayout` takes; keeps the texts, properties and operators, those of sub-layouts too."""

    def __init__(self, parent: Drawing | None = None) -> None:
        self.texts: list[str] = parent.texts if parent else []
        self.properties: list[str] = parent.properties if parent else []
        self.operators: list[str] = parent.operators if parent else []

    def _inner(self, *_args: Any, **_options: Any) -> Drawing:
        return Drawing(self)

    row = column = box = split = _inner

    def label(self, *, text: str = "", icon: str = "NONE", icon_value: int = 0, translate: bool = True) -> None:
        """Keep a text."""
        self.texts.append(text)

    def prop(self, _owner: Any, name: str, **_options: Any) -> None:
        """Keep a property's name."""
        self.properties.append(name)

    def operator(self, name: str, **_options: Any) -> SimpleNamespace:
        """Keep an operator's name; what is set on the answer is not."""
        self.operators.append(name)
        return SimpleNamespace()

    def progress(self, *, factor: float, text: str, translate: bool = True) -> None:
        """Keep the text of a bar."""
        self.texts.append(text)

    def panel(self, _name: str, **_options: Any) -> tuple[Drawing, Drawing]:
        """Return the header of a part that can be closed, and the part, open."""
        return Drawing(self), Drawing(self)

    def prop_enum(self, _owner: Any, name: str, _value: str, **_options: Any) -> None:
        """Keep a property's name."""
        self.properties.append(name)

    def separator(self) -> None:
        """Leave space."""

    def template_list(self, kind: str, _name: str, data: Any, items: str, owner: Any, active: str, **_: Any) -> None:
        """Show a list: all its rows, as its own class draws them."""
        draw_item = getattr(bpy.types, kind).draw_item
        for item in getattr(data, items):
            draw_item(SimpleNamespace(), None, Drawing(self), data, item, 0, owner, active)

    def template_ID(self, *_args: Any, **_options: Any) -> None:
        """Show a data-block."""

    def template_icon(self, **_options: Any) -> None:
        """Show a preview."""

    def icon(self, _block: Any) -> int:
        """Return the icon of a data-block."""
        return 0


def drawn(panel: type, scene: Any, preferences: Any, width: int = 300) -> Drawing:
    """Return what a panel draws in a region of `width` pixels."""
    drawing = Drawing()
    stub = SimpleNamespace(layout=drawing)
    for base in reversed(panel.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, FunctionType):
                setattr(stub, name, MethodType(value, stub))
            elif isinstance(value, str) and not name.startswith("_"):
                setattr(stub, name, value)
    manager = bpy.context.window_manager
    region = SimpleNamespace(width=width)
    stub.draw(SimpleNamespace(scene=scene, preferences=preferences, region=region, object=None, window_manager=manager))
    return drawing
