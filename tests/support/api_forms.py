# SPDX-License-Identifier: GPL-3.0-or-later
"""What the bodies of a server's answers look like: as documented, and in each other way that a client has to expect."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Form:
    """How a server words its answers.

    `id`: "job_id", "id" or "data.job_id". `poll`: "relative", "absolute", "foreign" (another host), "none" or
    "elsewhere" (another path that works, the documented one does not). `states`: our four names (queued, processing,
    completed, failed) -> the server's. `progress`: "fraction", "percent" or "none". `holder`: where the asset is,
    as "result.data.0", "" for the body itself. `key`: the name of its address there, "url", or "model_glb.url".
    `link`: "absolute" or "relative" address of the asset. `error`: "object", "string", "detail", "message", "text".
    `job_error`: "object", "string", "none". `synchronous`: the answer to the creation is the result, without an id.
    `wait`: the creation is answered only once the job is done.
    """

    id: str = "job_id"
    poll: str = "relative"
    states: Mapping[str, str] | None = None
    progress: str = "fraction"
    holder: str = "result.data.0"
    key: str = "url"
    link: str = "absolute"
    error: str = "object"
    job_error: str = "object"
    created: int = 202
    synchronous: bool = False
    wait: bool = False
    usage: bool = True
    cancel: str = "delete"

    def state(self, name: str) -> str:
        """Return the server's word for one of our states."""
        return (self.states or {}).get(name, name)


FORMS: dict[str, Form] = {
    "documented": Form(),
    "created-200": Form(created=200),
    "created-201": Form(created=201),
    "id": Form(id="id"),
    "data-job-id": Form(id="data.job_id"),
    "poll-absolute": Form(poll="absolute"),
    "poll-foreign": Form(poll="foreign"),
    "poll-none": Form(poll="none"),
    "poll-elsewhere": Form(poll="elsewhere"),
    "words-running": Form(states={"processing": "running", "completed": "succeeded"}),
    "words-upper": Form(states={"queued": "QUEUED", "processing": "Processing", "completed": "COMPLETED"}),
    "words-success": Form(states={"processing": "in_progress", "completed": "success", "failed": "error"}),
    "words-done": Form(states={"queued": "warming-up", "processing": "", "completed": "Done", "failed": "canceled"}),
    "percent": Form(progress="percent"),
    "no-progress": Form(progress="none"),
    "result-output": Form(holder="result.output.0"),
    "result-itself": Form(holder="result"),
    "output": Form(holder="output.0"),
    "output-itself": Form(holder="output"),
    "data": Form(holder="data.0"),
    "data-itself": Form(holder="data"),
    "body": Form(holder=""),
    "glb-url": Form(holder="result", key="glb_url"),
    "model-url": Form(holder="output", key="model_url"),
    "model-glb": Form(holder="result", key="model_glb.url"),
    "data-model-glb": Form(holder="data.0", key="model_glb.url"),
    "link-relative": Form(link="relative"),
    "link-own": Form(link="own"),
    "synchronous": Form(synchronous=True),
    "synchronous-output": Form(synchronous=True, holder="output.0", key="glb_url", created=200),
    "id-and-result": Form(wait=True),
    "errors-string": Form(error="string", job_error="string"),
    "errors-detail": Form(error="detail", job_error="none"),
    "errors-message": Form(error="message"),
    "errors-text": Form(error="text"),
    "no-usage": Form(usage=False, cancel="none"),
    "cancel-post": Form(cancel="post"),
}
"""All forms that a client has to understand, by name."""


def place(body: dict[str, Any], path: str, value: Any) -> None:
    """Put `value` into `body` at a dotted path, in which a number makes a list."""
    names = [name for name in path.split(".") if name]
    here: Any = body
    for name, following in zip(names, [*names[1:], None], strict=True):
        fresh: Any = value if following is None else [] if following.isdigit() else {}
        if isinstance(here, list):
            here.append(fresh)
            here = here[-1]
        elif following is None:
            here[name] = fresh
        else:
            here = here.setdefault(name, fresh)


def with_asset(form: Form, body: dict[str, Any], link: str, glb: bytes | None) -> None:
    """Add the finished asset to `body`: its address, or its bytes."""
    path = f"{form.holder}." if form.holder else ""
    if glb is None:
        place(body, path + form.key, link)
    else:
        place(body, f"{path}b64_json", base64.b64encode(glb).decode())
    if form == Form():
        body["result"]["data"][0]["content_type"] = "model/gltf-binary"
        body["result"]["usage"] = {"images": 1}


def error_body(form: Form, code: str, message: str) -> dict[str, Any] | str:
    """Return how `form` tells of an error: a JSON object, or a text."""
    return {
        "object": {"error": {"code": code, "message": message, "type": "invalid_request_error"}},
        "string": {"error": message},
        "detail": {"detail": message},
        "message": {"message": message, "code": code},
        "text": message,
    }[form.error]
