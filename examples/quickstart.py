"""Call an algorithm, keep its result as hosted data, read it back: ``python examples/quickstart.py``.

Nothing needs to be configured; set ALGORITHMIA_API and ALGORITHMIA_API_KEY to use a platform elsewhere.
"""
import Algorithmia

client = Algorithmia.client()

greeting = client.algo("demo/Hello").pipe("HAL 9000")
print(greeting.result)

folder = client.dir("data://.my/quickstart")
if not folder.exists():
    folder.create()
folder.file("greeting.json").putJson({"text": greeting.result, "seconds": greeting.metadata.duration})

with folder.file("greeting.json").open("r") as stream:
    print(stream.read())

folder.delete(force=True)
