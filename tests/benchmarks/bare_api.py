# SPDX-License-Identifier: GPL-3.0-or-later
"""An API on the same framework that answers as ours does and does nothing for it: what the framework itself costs."""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request

TOLD = {"status": "queued", "progress": 0.0, "created_at": "", "completed_at": None, "result": None, "error": None}
app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    """Tell that it is there."""
    return {"status": "ok"}


@app.post("/v1/3d/generations", status_code=202)
async def create(request: Request) -> dict[str, Any]:
    """Read the body, and forget it."""
    await request.json()
    return {"job_id": "job", "status": "queued", "poll_url": "/v1/jobs/job", "created_at": ""}


@app.get("/v1/jobs/{job_id}")
async def poll(job_id: str) -> dict[str, Any]:
    """Tell the same of every job."""
    return {"job_id": job_id, **TOLD}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
