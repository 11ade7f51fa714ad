"""BentoML with one worker; its command line serves it."""

import bentoml


@bentoml.service(workers=1, traffic={"max_concurrency": 100})
class Hello:
    @bentoml.api
    def hello(self, name: str) -> str:
        return "Hello " + name
