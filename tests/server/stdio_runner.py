"""A runner that speaks the documented protocol, well or badly as it's told: what test_engine_stdio.py runs.

    python stdio_runner.py MANNER

Requests are ``{"do": ..., "value": ...}``, or anything else to be given back.
"""

import json
import os
import subprocess
import sys
import time

FIFO = os.environ.get("ALGORITHMIA_OUTPUT_FIFO", "/tmp/algoout")
manner = sys.argv[1] if len(sys.argv) > 1 else ""
kept = None


def say(text):
    print(text)
    sys.stdout.flush()


def write(text):
    global kept
    if manner == "keeps the FIFO open":
        kept = kept or open(FIFO, "w")
        kept.write(text)
        kept.flush()
        return
    with open(FIFO, "w") as handle:
        handle.write(text)


def answer(value, content_type="json"):
    write(json.dumps({"result": value, "metadata": {"content_type": content_type}}) + "\n")


def main():
    say("loading")
    if manner == "fails to load":
        sys.stderr.write("no weights\n")
        sys.exit(7)
    if manner == "reports that it can't load":
        write(json.dumps({"error": {"message": "no weights", "error_type": "LoadingError", "stacktrace": "here"}}))
        sys.exit(0)
    if manner == "answers unasked":
        answer(1)
        time.sleep(60)
    if manner == "floods while it loads":
        os.write(1, b"x" * 3000000)
    if manner == "says so in pieces":
        for part in (b"PIPE_INIT", b"_COMPL", b"ETE\n"):
            os.write(1, part)
            time.sleep(0.05)
    else:
        say("PIPE_INIT_COMPLETE")
    if manner == "never reads":
        time.sleep(60)
    for line in sys.stdin:
        request = json.loads(line)
        data = request["data"]
        if not isinstance(data, dict) or "do" not in data:
            answer(data, request["content_type"])
        elif data["do"] == "line":
            answer(line)
        elif data["do"] == "write":
            write(data["value"])
        elif data["do"] == "pieces":
            for part in data["value"]:
                write(part)
                time.sleep(0.05)
        elif data["do"] == "print":
            say(data["value"])
            sys.stderr.write("to stderr\n")
            answer("printed")
        elif data["do"] == "flood":
            for _ in range(data["value"]):
                os.write(1, b"x" * 1024)
            answer("flooded")
        elif data["do"] == "large":
            answer("x" * data["value"])
        elif data["do"] == "exit":
            say("bye")
            os._exit(data["value"])
        elif data["do"] == "answer and exit":
            answer("last words")
            os._exit(3)
        elif data["do"] == "half an answer":
            write('{"result": [1')
            os._exit(4)
        elif data["do"] == "close input":
            os.close(0)
            time.sleep(60)
        elif data["do"] == "hang":
            subprocess.Popen(["sleep", data["value"]])
            time.sleep(60)
        elif data["do"] == "environment":
            answer(dict(os.environ))
    say("the end")


main()
