"""Bare Starlette."""

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


async def hello(request):
    return PlainTextResponse("Hello " + (await request.body()).decode())


app = Starlette(routes=[Route("/", hello, methods=["POST"])])
