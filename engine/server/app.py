# SPDX-License-Identifier: GPL-3.0-or-later
"""The application: the routes of the documented API.

Its annotations are not postponed: FastAPI reads them, and some of their names are those of one application.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from python_multipart.exceptions import MultipartParseError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.responses import FileResponse, Response

from ..errors import EspalierError
from ..jobs.job import Job, State
from . import answers
from .access import Access
from .answers import Answer
from .desk import FORMAT
from .documents import CREATE_ANSWERS, ERROR, ERRORS, KEYED, document_keys, generation_body
from .guard import Guard
from .links import Links, signing_key
from .log import log
from .metrics import CONTENT_TYPE, Metrics
from .order import Order, from_form, from_json, read_json
from .service import Service
from .settings import MODEL, Settings
from .tokens import Tokens

_FIELD_BYTES = 1 << 16
_QUICK_BYTES = 1 << 18
"""A body of this size is parsed within a millisecond or two, which is less than another thread costs."""
_MOST_FIELDS = 64
ASSET_PATH = "/assets/{signed}/asset.glb"


def create_app(settings: Settings, desk: Service, metrics: Metrics) -> FastAPI:
    """Return the application on `desk`, which it opens and closes. Raises EspalierError where `root` is unusable."""
    access = Access(settings, Tokens(settings.root / "tokens.json"))
    links = Links(signing_key(settings.root / "signing.key"))

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        try:
            await desk.open()
        except EspalierError as error:
            log().error("start", cause=error.cause, remedy=error.remedy)
            raise
        try:
            yield
        finally:
            await desk.close()

    app = FastAPI(title="Espalier", version="1", lifespan=life, default_response_class=Answer)
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    app.add_exception_handler(EspalierError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(Exception, _failed)
    metrics.watch(desk.counts)
    Owner = Annotated[str, Depends(access)]

    async def told(request: Request, job: Job) -> dict[str, Any]:
        if job.state not in (State.READY, State.IMPORTED):
            return answers.state(job, None)
        if job.placement.get(FORMAT) == "b64_json":
            try:
                return answers.state(job, await to_thread.run_sync(answers.result, None, await desk.asset(job.id)))
            except OSError:
                raise EspalierError("server_link_expired") from None
        base = settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
        return answers.state(
            job, answers.result(base + ASSET_PATH.format(signed=links.sign(job.id, desk.expires(job))))
        )

    @app.get("/health", tags=["server"], responses={503: ERROR})
    async def health() -> Answer:
        """Tell whether the server takes jobs."""
        return Answer({"status": "draining"}, 503) if desk.draining else Answer({"status": "ok"})

    @app.get("/metrics", tags=["server"], openapi_extra=KEYED, responses=ERRORS, response_class=Response)
    async def prometheus(owner: Owner) -> Response:
        """Return the counters of the server, as Prometheus reads them."""
        await desk.recount()
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.post(
        "/v1/3d/generations", status_code=202, tags=["generation"], responses=CREATE_ANSWERS,
        openapi_extra={"requestBody": generation_body(), **KEYED},
    )  # fmt: skip
    async def create(request: Request, owner: Owner) -> Answer:
        """Order an asset of one image; poll the job that is returned."""
        await desk.admit(owner)
        order = await _order(request)
        return Answer(answers.created(await desk.order(owner, order)), 202)

    @app.get("/v1/jobs", openapi_extra=KEYED, tags=["jobs"], responses=ERRORS)
    async def jobs(
        owner: Owner,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: Annotated[str, Query(max_length=80, description="The last job_id of the page before")] = "",
    ) -> Answer:
        """List the key's jobs, newest first, without their results."""
        found = await desk.jobs(owner)
        if after:
            place = next((index for index, job in enumerate(found) if job.id == after), None)
            found = [] if place is None else found[place + 1 :]
        data = [answers.state(job, None) for job in found[:limit]]
        return Answer({"object": "list", "data": data, "has_more": len(found) > limit})

    @app.get("/v1/jobs/{job_id}", openapi_extra=KEYED, tags=["jobs"], responses={**ERRORS, 410: ERROR})
    async def poll(request: Request, job_id: str, owner: Owner) -> Answer:
        """Tell how a job goes, and its result once it is completed."""
        return Answer(await told(request, await desk.job(owner, job_id)))

    @app.delete("/v1/jobs/{job_id}", openapi_extra=KEYED, tags=["jobs"], responses=ERRORS)
    async def cancel(job_id: str, owner: Owner) -> Answer:
        """Cancel a job; one that has come to an end stays as it is."""
        job = await desk.cancel(owner, job_id)
        return Answer({"job_id": job.id, "status": answers.word(job)})

    @app.get("/v1/models", openapi_extra=KEYED, tags=["models"], responses=ERRORS)
    async def models(owner: Owner) -> Answer:
        """List the models, of which there is one."""
        return Answer({"object": "list", "data": [answers.model()]})

    @app.get("/v1/models/{model}", openapi_extra=KEYED, tags=["models"], responses=ERRORS)
    async def model(model: str, owner: Owner) -> Answer:
        """Describe a model: its parameters with their ranges, and its prices."""
        if model != MODEL:
            raise EspalierError("server_model_unknown", model=model[:80], known=MODEL)
        return Answer(answers.model())

    @app.get(
        ASSET_PATH, tags=["assets"], response_class=FileResponse,
        responses={200: {"content": {answers.GLB: {}}}, 206: {}, 403: ERROR, 410: ERROR, 416: {}},
    )  # fmt: skip
    @app.head(ASSET_PATH, include_in_schema=False)
    async def asset(signed: str) -> Response:
        """Return a finished asset. The address is the permission; no key belongs here."""
        path = await desk.asset(links.read(signed))
        if not await to_thread.run_sync(path.is_file):
            raise EspalierError("server_link_expired")
        return FileResponse(path, media_type=answers.GLB, headers={"Cache-Control": "private"})

    document_keys(app)
    return app


async def _order(request: Request) -> Order:
    """Return what the body of a request orders. Raises EspalierError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        body = await request.body()
        data = read_json(body) if len(body) <= _QUICK_BYTES else await to_thread.run_sync(read_json, body)
        return from_json(data)
    if kind != "multipart/form-data":
        raise EspalierError("server_body_type", type=kind[:80] or "of no type")
    fields: dict[str, str] = {}
    file: bytes | None = None
    try:
        async with request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=_FIELD_BYTES) as form:
            for name, value in form.multi_items():
                if name in fields or (isinstance(value, UploadFile) and name != "image"):
                    raise EspalierError("server_body_invalid", reason="a field is there twice or is a file")
                if isinstance(value, UploadFile):
                    file = await value.read()
                else:
                    fields[name] = value
    except (MultiPartException, MultipartParseError, HTTPException, UnicodeError) as error:
        raise EspalierError("server_body_invalid", repr(error), reason="it is not a form") from None
    return from_form(fields, file)


async def _refused(request: Request, error: Exception) -> Answer:
    assert isinstance(error, EspalierError)
    headers: Mapping[str, str] = {"Retry-After": error.fields["seconds"]} if error.code == "server_rate" else {}
    if error.code in ("server_key_missing", "server_key_invalid"):
        headers = {"WWW-Authenticate": "Bearer"}
    if error.code in ("server_body_large", "server_body_slow"):
        headers = {"Connection": "close"}
    return answers.refusal(error, headers)


async def _invalid(request: Request, error: Exception) -> Answer:
    assert isinstance(error, RequestValidationError)
    first: Any = next(iter(error.errors()), {})
    name = ".".join(str(part) for part in first.get("loc", ())[1:]) or "The request"
    value = str(first.get("input", ""))[:80]
    return answers.refusal(EspalierError("server_query", name=name, value=value, expected="what /docs describes"))


async def _plain(request: Request, error: Exception) -> Answer:
    assert isinstance(error, HTTPException)
    return Answer({"detail": error.detail}, error.status_code, headers=dict(error.headers or {}))


async def _failed(request: Request, error: Exception) -> Answer:
    log().error("failure", exc_info=error)
    return answers.refusal(EspalierError("server_failure"))
