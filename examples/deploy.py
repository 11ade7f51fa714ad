"""Write an algorithm, bring it to the platform, publish it and call it: ``python examples/deploy.py``.

Nothing needs to be configured; set ALGORITHMIA_API and ALGORITHMIA_API_KEY to use a platform elsewhere.
"""
import json
import os
import tempfile

import Algorithmia

CODE = '''
from collections import Counter

from Algorithmia import ADK


def apply(input):
    """``"a text"`` -> ``{"a": 1, "text": 1}``."""
    return Counter(input.lower().split())


algorithm = ADK(apply)

if __name__ == "__main__":
    algorithm.init("the cat and the hat")
'''

client = Algorithmia.client()
me = client.username()

algorithm = client.algo(me + "/WordCount")
if not algorithm.exists():
    algorithm.create(
        {"label": "Word count", "tagline": "Counts the words of a text"}, {"language": "python3", "license": "mit"}
    )

with tempfile.TemporaryDirectory() as project:
    os.mkdir(os.path.join(project, "src"))
    for name, content in (
        ("algorithmia.conf", json.dumps({"username": me, "algoname": "WordCount", "language": "python3"})),
        ("requirements.txt", "algorithmia>=2.0\n"),
        (".adk", ""),
        ("src/__init__.py", ""),
        ("src/WordCount.py", CODE.lstrip()),
    ):
        with open(os.path.join(project, name), "w") as handle:
            handle.write(content)
    deployed = algorithm.deploy(project, "Count words")
build = algorithm.wait_for_build(deployed["build_id"])
print("build: " + build["status"])

try:
    algorithm.publish(
        settings={"algorithm_callability": "private"},
        version_info={"version_type": "minor", "sample_input": '"the cat and the hat"'},
    )
except Algorithmia.errors.ConflictError:
    print("published before")
version = algorithm.versions(published=True)["results"][0]["version_info"]["semantic_version"]

answer = client.algo(f"{me}/WordCount/{version}").pipe("to be or not to be").result
print(f"{me}/WordCount/{version}: {json.dumps(answer, sort_keys=True)}")
