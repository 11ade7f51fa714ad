"""Eight threads that share urllib3's pool: ``python urllib3_threads.py up|down ADDRESS DIRECTORY COUNT``.

The reference for many small files: what a programmer in a hurry writes. Runs in an environment of its own.
"""

import queue
import sys
import threading
from pathlib import Path

import urllib3

_THREADS = 8


def main() -> int:
    direction, address, directory, count = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    pool = urllib3.PoolManager(maxsize=_THREADS, block=True)
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    for number in range(count):
        waiting.put(f"file-{number:04}")
    failed = []

    def work() -> None:
        while True:
            try:
                name = waiting.get_nowait()
            except queue.Empty:
                return
            if direction == "up":
                response = pool.request("PUT", f"{address}/{name}", body=(directory / name).read_bytes())
            else:
                response = pool.request("GET", f"{address}/{name}")
                (directory / name).write_bytes(response.data)
            if not 200 <= response.status < 300:
                failed.append(f"{name}: {response.status}")

    threads = [threading.Thread(target=work) for _ in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(failed), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
