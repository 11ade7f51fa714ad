"""FastAPI as its own documentation writes it: a checked input, a function that runs in a thread."""

from fastapi import Body, FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.post("/", response_class=PlainTextResponse)
def hello(name: str = Body(media_type="text/plain")):
    return "Hello " + name
