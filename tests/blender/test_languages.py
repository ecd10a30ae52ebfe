# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface in Japanese and Simplified Chinese: nothing is missing, nothing is left over, and it is shown.

Blender as a Python module knows no languages of its own, so that what it looks up by itself is tested in a window.
"""

import ast
import json
import re
from pathlib import Path
from types import FunctionType

import bpy
import pytest

from tests.support import strings
from tests.support.drawing import drawn
from tests.support.unwrapped import unwrapped

LOCALES = ("ja_JP", "zh_HANS")
SAME = {
    *(
        "Espalier",
        "Hugging Face",
        "PNG",
        "TRELLIS.2",
        "WebP",
        "an H100",
        "{name} with {machine}",
        "{stage}, {done} of {total}",
    ),
    *("at {time}", "on {date} at {time}", "{price} {moment}", "{action} {environment}"),
}
"""What is called the same everywhere, and templates of which only the fields are words."""
CJK = re.compile("[぀-ヿ㐀-鿿]")
FOLDER = strings.ROOT / "operators" / "languages"


@pytest.fixture(scope="module")
def wanted(addon):
    """Return each text that a person can read, and where it is."""
    return strings.collect(addon)


@pytest.fixture
def languages(espalier):
    """Return the module; Blender shows English again afterwards."""
    module = espalier.module("operators.languages")
    view = bpy.context.preferences.view
    before, view.use_translate_interface = view.use_translate_interface, True
    yield module
    module.choose("")
    view.use_translate_interface = before


def texts_of(locale):
    return json.loads((FOLDER / f"{locale}.json").read_text("utf-8"))


def fields(text):
    return set(re.findall(r"\{\w*\}", text))


def is_sentence(text):
    return text.endswith(".") and not text.endswith("...")


@pytest.mark.once
@pytest.mark.parametrize("locale", LOCALES)
def test_each_text_has_a_translation_and_each_translation_a_text(wanted, locale):
    texts = texts_of(locale)
    missing = {text: where for text, where in wanted.items() if text not in texts}
    assert not missing, f"{len(missing)} texts are missing in {locale}.json: {json.dumps(missing, indent=1)}"
    left = sorted(set(texts) - set(wanted))
    assert not left, f"{len(left)} texts of {locale}.json are used nowhere: {left}"


@pytest.mark.once
@pytest.mark.parametrize("locale", LOCALES)
def test_translations_have_the_fields_the_ends_and_the_script_of_their_language(locale):
    pairs = json.loads((FOLDER / f"{locale}.json").read_text("utf-8"), object_pairs_hook=list)
    keys = [key for key, _value in pairs]
    assert keys == sorted(set(keys)), "sorted, and none twice"
    wrong = {}
    for text, translation in pairs:
        if fields(text) != fields(translation):
            wrong[text] = "other fields"
        elif is_sentence(text) != translation.endswith("。"):
            wrong[text] = "a full stop where there is none, or none where there is one"
        elif text.endswith("...") != translation.endswith(("...", "…")):
            wrong[text] = "not what goes on"
        elif translation != translation.strip():
            wrong[text] = "spaces around it"
        elif (
            not CJK.search(translation) and text not in SAME and re.search("[A-Za-z]{2,}", re.sub(r"\{\w+\}", "", text))
        ):
            wrong[text] = "not translated"
    assert not wrong


@pytest.mark.once
def test_nothing_is_shown_that_is_not_translated():
    assert not unwrapped()


@pytest.mark.once
@pytest.mark.parametrize(
    "line",
    [
        'layout.label(text=f"{count} jobs")',
        'layout.label(text="Ready" + name)',
        'layout.label(text="Some words", translate=False)',
        'cls.poll_message_set("Choose an image")',
        'self.report({"INFO"}, "It is done" if done else say("Not yet"))',
        'words = f"{count} jobs"; draw_wrapped(layout, context, words)',
        'draw_note(layout, ", ".join([say("Ready"), "not ready"]), "INFO")',
        "layout.label(text=unheard_of(count))",
    ],
)
def test_a_text_that_is_not_translated_is_found(line):
    here = strings.ROOT / "panels" / "new.py"
    assert unwrapped({here: ast.parse(f"def draw(self, context):\n    {line}\n")})


@pytest.mark.once
def test_collected_are_the_words_of_tables_classes_code_and_engine(wanted):
    assert {
        "Cancel",  # an operator
        "Prepare Image",  # a parameter
        "Under the Mouse",  # an item of an enum
        "The image {path} is empty.",  # an error
        "Tracing Outline",  # a stage
        "{name} is finished and belongs to {file}",  # a template
        "The {engine} engine ignores it: {reason}",  # part of a tooltip
        "The grid was lowered from {cells} to {used} cells to keep to {most} faces.",  # the engine's own
        "Game Prop",  # a preset
    } <= set(wanted)
    assert not any(text.startswith("SELECT") or "\n" in text for text in wanted)


@pytest.mark.parametrize("locale", LOCALES)
def test_panels_and_errors_are_drawn_in_the_language(espalier, languages, session, locale):
    languages.choose(locale)
    texts = texts_of(locale)
    error = espalier.module("engine.errors").EspalierError("image_empty", path="/tmp/Ready.png")
    session.fail(error, "")
    session.session.notice = "Shape keys were left out. Lights were left out."
    panel = espalier.module("panels.sidebar").ESPALIER_PT_main
    lines = "".join(drawn(panel, bpy.context.scene, bpy.context.preferences, width=4000).texts).replace(" ", "")
    cause = texts["The image {path} is empty."].format(path="/tmp/Ready.png")
    for sentence in (cause, texts[error.remedy], texts["Shape keys were left out."], texts["Lights were left out."]):
        assert sentence.replace(" ", "") in lines
    assert error.cause == "The image /tmp/Ready.png is empty.", "what the log has stays English"
    session.session.error, session.session.notice = None, ""


@pytest.mark.once
def test_all_that_the_panels_draw_is_looked_up(espalier, languages, session, wanted, picture, preferences):
    languages.choose("ja_JP", {text: f"<{text}>" for text in wanted})
    settings = bpy.context.scene.espalier
    settings.image = bpy.data.images.load(str(picture))
    job = espalier.module("engine.jobs.job")
    queue = session.session.open_queue()
    queue.submit(espalier.module("engine.request").GenerationRequest.create(picture, "draft"), {"file": "another"})
    session.fail(espalier.module("engine.errors").EspalierError("background_busy", path=picture))
    espalier.module("operators.environments").look()
    espalier.module("operators.queue_list").sync()
    panels = espalier.module("panels").CLASSES
    shown = [
        cls for cls in panels if getattr(cls, "bl_space_type", "") == "VIEW_3D" and "made_with" not in cls.__name__
    ]
    chosen = espalier.module("operators.preferences").EspalierPreferences
    functions = {name: value for name, value in vars(chosen).items() if isinstance(value, FunctionType)}
    shown.append(type("Preferences", (), {**functions, **dict.fromkeys(chosen.__annotations__, "")}))
    left = {picture.stem, *espalier.module("operators.trellis2").notices()}
    seen = 0
    for engine in ("draft", "remote", "trellis2"):
        if engine in [item[0] for item in espalier.module("operators.settings").engine_items()]:
            settings.engine = engine
        for cls in shown:
            for text in drawn(cls, bpy.context.scene, bpy.context.preferences, width=100000).texts:
                seen += 1
                assert "<" in text or text in wanted or text in left or not strings.has_words(text), text
    assert seen > 20
    assert job.State.QUEUED in [known.state for known in session.known_jobs()]


@pytest.mark.once
@pytest.mark.parametrize("locale", LOCALES)
def test_each_error_has_its_sentences_whatever_fills_them(espalier, languages, wanted, locale):
    languages.choose(locale)
    errors, texts = espalier.module("engine.errors"), texts_of(locale)
    for code, (_exit, cause, remedy) in errors.CATALOGUE.items():
        if cause in wanted and remedy in wanted:
            filled = {name.strip("{}"): f"/a/{number}" for number, name in enumerate(sorted(fields(cause + remedy)))}
            error = errors.EspalierError(code, **filled)
            again = errors.EspalierError.from_json(json.loads(json.dumps(error.to_json())))
            assert languages.sentences(again) == (
                texts[cause].format_map(filled),
                texts[remedy].format_map(filled),
            ), code


@pytest.mark.once
def test_what_the_engine_says_is_found_again_by_its_template(espalier, languages, wanted):
    languages.choose("ja_JP", {text: f"<{text}>" for text in wanted})
    told = languages.told
    assert told("Tracing Outline") == "<Tracing Outline>"
    assert told("The grid was lowered from 256 to 128 cells to keep to 1,000 faces.") == (
        "<The grid was lowered from 256 to 128 cells to keep to 1,000 faces.>"
    )
    assert told("All models stay on the GPU. About 17 seconds.") == (
        "<All models stay on the GPU.> <About 17 seconds.>"
    )
    assert told("Shape keys were left out. Animations were left out.") == (
        "<Shape keys were left out.> <Animations were left out.>"
    )
    assert told("0.1 to 3") == "<0.1 to 3>"
    assert told("a photo of a walk to the sea") == "a photo of a walk to the sea"
    assert told("") == ""


@pytest.mark.once
def test_reasons_are_translated_inside_of_errors_and_names_are_not(espalier, languages, wanted):
    languages.choose("ja_JP", {text: f"<{text}>" for text in wanted})
    error = espalier.module("engine.errors").EspalierError
    cause, _remedy = languages.sentences(error("glb_invalid", path="Ready", reason="it is cut off"))
    assert cause == "<Ready is not a valid GLB file: <it is cut off>.>"
    inner = error("output_unwritable", path="/x", reason="it is a folder").cause
    small = inner[0].lower() + inner[1:].rstrip(".")
    cause, _remedy = languages.sentences(error("asset_file_failed", count=2, reason=small))
    assert "</x cannot be written: <it is a folder>" in cause
    job = error("job_state", job="7", state="queued", act="cleared")
    assert languages.sentence(job).startswith("<The job 7 is <queued> and cannot be <cleared>.>")


@pytest.mark.once
def test_tooltips_that_are_put_together_are_translated_line_by_line(espalier, languages):
    languages.choose("zh_HANS")
    texts = texts_of("zh_HANS")
    tooltip = espalier.module("operators.settings").tooltip(espalier.module("engine.parameters").BY_NAME["remesh"])
    assert languages.LINES in tooltip
    found = languages._entries()["*", tooltip]
    assert found.startswith(texts[tooltip.partition(languages.LINES)[0]])
    assert texts["Draft"] in found
    assert espalier.module("operators.former").ESPALIER_OT_revert.bl_translation_context in languages.CONTEXTS
    for context in languages.CONTEXTS:
        assert languages._entries()[context, "Cancel"] == texts["Cancel"]


def test_a_language_is_known_by_every_name_and_english_needs_no_file(languages, monkeypatch):
    assert [languages.file_of(name) for name in ("ja_JP", "ja", "ja_JP.UTF-8")] == ["ja_JP"] * 3
    assert [languages.file_of(name) for name in ("zh_HANS", "zh_CN", "zh_CN.UTF-8")] == ["zh_HANS"] * 3
    assert [languages.file_of(name) for name in ("", "en_US", "de_DE", "zh_HANT", "zh_TW")] == [""] * 5
    monkeypatch.setattr(languages, "read", None)
    languages.choose("en_US")
    assert languages.say("{count} levels", count=3) == "3 levels"
    assert languages.told("Tracing Outline") == "Tracing Outline"


@pytest.mark.once
def test_who_wants_no_translated_interface_gets_none(languages):
    languages.choose("ja_JP")
    assert languages.say("Ready") != "Ready"
    bpy.context.preferences.view.use_translate_interface = False
    assert languages.say("Ready") == "Ready"
    assert languages.told("Tracing Outline") == "Tracing Outline"


@pytest.mark.once
@pytest.mark.parametrize("width", [8, 13, 20, 41])
@pytest.mark.parametrize(
    "text",
    [
        "The image /photos/ann/mug.png is empty. Export or download it again.",
        "画像 /photos/ann/mug.png は空です。もう一度書き出してください。",
        "背景（BiRefNet）太杂乱，无法与主体区分。",
    ],
)
def test_lines_break_at_words_or_between_wide_characters_and_lose_nothing(espalier, text, width):
    module = espalier.module("operators.text")
    lines = module.wrap(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(module.columns(line) <= width for line in lines)
    assert not any(line[0] in module.NEVER_FIRST for line in lines if width > 8)
    assert all(line == line.strip() for line in lines)
    if text.isascii() and width > 20:
        assert lines[0] == "The image /photos/ann/mug.png is empty."
    assert module.wrap("", width) == []


@pytest.mark.once
def test_files_are_read_beside_the_code(languages):
    assert Path(languages.__file__).with_name("ja_JP.json").is_file()
    assert languages.read("zh_HANS") == texts_of("zh_HANS")
