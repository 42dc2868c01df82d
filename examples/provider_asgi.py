"""Meter an ASGI app in this process: uvicorn --app-dir examples provider_asgi:app, beside a retainer.toml."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from retainer_provider.app import create_app
from retainer_provider.settings import load_settings


async def answer(request: Request) -> JSONResponse:
    """The service that is sold."""
    return JSONResponse({"session": request.headers["X-Retainer-Session"], "answer": 42})


service = Starlette(routes=[Route("/answer", answer)])
app = create_app(load_settings(Path("retainer.toml")), upstream=service)
