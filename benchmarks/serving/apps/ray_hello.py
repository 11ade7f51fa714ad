"""Ray Serve with one replica: ``ray_hello.py PORT``; ends when it is told to."""

import os
import signal
import sys

import ray
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=100)
class Hello:
    async def __call__(self, request):
        return "Hello " + (await request.body()).decode()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=100 * 1024 * 1024,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=os.environ["TMPDIR"],
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1]), "access_log": False})
    serve.run(Hello.bind(), route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
