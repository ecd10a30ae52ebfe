# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface in the languages of the files beside this one, which hold each English text with its translation.

Everything is written in English first: in panels and operators, and in the engine, which knows no Blender and no other
language. A text is translated where it is drawn, never where it is made, kept or logged; the command line and the log
stay English, where people search for what they say. There are three ways:

- What Blender draws by itself it also looks up by itself: labels, tooltips, and literals that are given to a layout.
  Each text is registered under the contexts in which Blender asks for it: its usual one, that of operators, and `OWN`.
- `say` translates a template and then fills it: never is a sentence put together of translated parts.
- `told` translates a finished sentence of the engine, which may have been made in another process, or by an earlier
  version, by the template that it follows.

Only the file of the language that is chosen is read, and none at all for English: enabling must not wait for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import bpy

from ...engine.errors import CATALOGUE, EspalierError

PACKAGE = __package__
FILES = {"ja": "ja_JP", "zh_CN": "zh_HANS", "zh_HANS": "zh_HANS", "zh_SG": "zh_HANS"}
"""A language, or one with its country or script, as Blender or the system calls it -> the file of its texts."""
OWN = "Espalier"
"""Where texts are looked up that Blender has itself, with another meaning: its own translations come first."""
CONTEXTS = ("*", "Operator", OWN)
"""Where Blender looks a text up: labels, names and tooltips in the first, what stands on buttons in the second."""
LINES = ".\n"
"""What lies between the sentences of a tooltip that is put together; each is translated by itself."""
AS_IT_IS = frozenset(
    {
        *("file", "folders", "host", "hub", "job", "model", "module", "name", "names", "package", "path"),
        *("packages", "profile", "repo", "server", "source_path", "strerror", "target", "title", "url", "value"),
    }
)
"""Fields with what a person, a server or the system has named: it is shown as it is, whatever else it could mean."""
KNOWABLE, TELLING = 2, 8
"""Letters of its own by which a template is known at all, and whatever its fields: with fewer they are figures."""
_FIELD = re.compile(r"\{(\w+)\}")
_OURS = __package__.partition(".operators")[0]
_SENTENCES = re.compile(r"(?<=\.) (?=[A-Z0-9])")
_OWNER = object()
"""To whom Blender's message bus tells that another language was chosen."""

_texts: Mapping[str, str] = {}
_locale = ""
_classes: tuple[type, ...] = ()


def msgid(text: str) -> str:
    """Return `text` as it is: it marks a text that is kept in English and translated where it is drawn."""
    return text


def say(template: str, /, **fields: object) -> str:
    """Return `template` in the language of the interface, its fields filled with `fields` as they are."""
    text = _texts.get(template, template) if _texts and _wanted() else template
    return text.format_map(fields) if fields else text


def told(text: str) -> str:
    """Return what the engine says, finished in English, in the language of the interface; what is unknown as it is."""
    return _told(text) if _texts and text and _wanted() else text


def sentences(error: EspalierError) -> tuple[str, str]:
    """Return the sentences of cause and remedy of `error` in the language of the interface."""
    if not _texts or not _wanted():
        return error.cause, error.remedy
    _exit, cause, remedy = CATALOGUE[error.code]
    fields = {name: value if name in AS_IT_IS else _told(value) for name, value in error.fields.items()}
    return say(cause, **fields), say(remedy, **fields)


def sentence(error: EspalierError) -> str:
    """Return cause and remedy of `error` in the language of the interface, one after the other."""
    return " ".join(sentences(error))


def read(name: str) -> dict[str, str]:
    """Return the texts of the file `name` of this folder: English -> translation."""
    texts: dict[str, str] = json.loads((Path(__file__).parent / f"{name}.json").read_text("utf-8"))
    return texts


def file_of(locale: str) -> str:
    """Return the file for a locale as Blender names it ("ja_JP", "zh_HANS", "zh_CN@..."), empty where there is none."""
    language = re.split(r"[.@]", locale)[0]
    return FILES.get(language, "") or FILES.get(language.partition("_")[0], "")


def pattern_of(template: str) -> re.Pattern[str]:
    """Return what matches the sentences that follow `template`, its fields as groups."""
    parts, seen = [], set()
    anything = ".*?" if _letters(template) >= TELLING else r"\S*\d\S*"
    for index, part in enumerate(_FIELD.split(template)):
        if index % 2 == 0:
            parts.append(re.escape(part))
        else:
            parts.append(f"(?P={part})" if part in seen else f"(?P<{part}>{anything})")
            seen.add(part)
    return re.compile("".join(parts), re.DOTALL)


def _letters(template: str) -> int:
    return len(re.findall("[A-Za-z]", _FIELD.sub("", template)))


def _wanted() -> bool:
    """Tell whether the person wants the interface translated, which can be switched off beside the language."""
    return bool(bpy.context.preferences.view.use_translate_interface)


def templates(texts: Iterable[str]) -> list[tuple[str, re.Pattern[str]]]:
    """Return the templates of `texts` with what matches them, those with the most letters of their own first."""
    found = [text for text in texts if _FIELD.search(text) and _letters(text) >= KNOWABLE]
    found.sort(key=lambda text: -len(_FIELD.sub("", text)))
    return [(text, pattern_of(text)) for text in found]


@lru_cache(maxsize=1)
def _templates() -> list[tuple[str, re.Pattern[str]]]:
    return templates(_texts)


@lru_cache(maxsize=512)
def _told(text: str) -> str:
    if text in _texts:
        return _texts[text]
    if LINES in text:
        return LINES.join(map(_told, text.split(LINES)))
    parts = _SENTENCES.split(text)
    each = list(map(_told, parts)) if len(parts) > 1 else []
    if each and not any(part == same for part, same in zip(parts, each, strict=True)):
        return " ".join(each)
    for template, pattern in _templates():
        found = pattern.fullmatch(text)
        if found is not None:
            fields = {name: value if name in AS_IT_IS else _told(value) for name, value in found.groupdict().items()}
            return _texts[template].format_map(fields)
    return " ".join(each) if each else _as_sentence(text)


def _as_sentence(text: str) -> str:
    """Return the translation of a reason that was a sentence: written small, and without its full stop."""
    if not text or text.endswith("."):
        return text
    whole = f"{text[0].upper()}{text[1:]}."
    found = _told(whole)
    return text if found == whole else found.rstrip(".\u3002")


def choose(locale: str, texts: Mapping[str, str] | None = None) -> None:
    """Show the interface in the language of `locale`, or with `texts`; without either it is shown in English."""
    global _texts, _locale
    if _texts:
        bpy.app.translations.unregister(PACKAGE)
    name = file_of(locale)
    _texts, _locale = (read(name) if name else {}) if texts is None else texts, locale
    _told.cache_clear()
    _templates.cache_clear()
    if _texts:
        bpy.app.translations.register(PACKAGE, {locale: _entries()})


def _entries() -> dict[tuple[str, str], str]:
    """Return what Blender is to find, with the tooltips that were put together when their classes were made."""
    texts = dict(_texts)
    texts |= {text: _told(text) for text in _tooltips(_classes) if text and text not in texts}
    return {(context, text): translated for text, translated in texts.items() for context in CONTEXTS}


def _tooltips(classes: Iterable[type]) -> Iterable[str]:
    """Yield the tooltips of the properties of `classes`, and of their items."""
    for cls in classes:
        for known in properties(cls):
            yield known.description
            if known.type == "ENUM":
                yield from (item.description for item in known.enum_items_static)


def properties(cls: type) -> list[bpy.types.Property]:
    """Return the properties that a registered class has of us, as Blender knows them."""
    bases = (each for each in cls.__mro__ if each.__module__.startswith(_OURS))
    own = {name for base in bases for name in vars(base).get("__annotations__", ())}
    module, _, verb = cls.__name__.partition("_OT_")
    rna = getattr(getattr(bpy.ops, module.lower()), verb).get_rna_type() if verb else cls.bl_rna
    return [known for known in rna.properties if known.identifier in own]


def _follow() -> None:
    """Take the language that Blender has now. In the background scripts and logs read what is said, in English."""
    if not bpy.app.background and bpy.app.translations.locale != _locale:
        choose(bpy.app.translations.locale)


@bpy.app.handlers.persistent
def _file_opened(*_args: object) -> None:
    """Look again: factory settings come with a language, and leave nothing of who wanted to be told."""
    _follow()


def register(classes: tuple[type, ...]) -> None:
    """Take Blender's language now, and whenever another one is chosen. `classes` are those with tooltips."""
    global _classes
    _classes = classes
    _follow()
    key = (bpy.types.PreferencesView, "language")
    bpy.msgbus.subscribe_rna(key=key, owner=_OWNER, args=(), notify=_follow, options={"PERSISTENT"})
    bpy.app.handlers.load_post.append(_file_opened)


def unregister() -> None:
    """Give Blender's texts back."""
    global _classes
    bpy.app.handlers.load_post.remove(_file_opened)
    bpy.msgbus.clear_by_owner(_OWNER)
    choose("")
    _classes = ()
