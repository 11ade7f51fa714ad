"""Copies a file between data URIs: for trying out data access from inside an algorithm."""
import Algorithmia
from Algorithmia import ADK


def apply(input):
    """``{"source": URI, "target": URI}`` -> ``{"source", "target", "bytes"}``. URIs as the algorithm sees them."""
    if not isinstance(input, dict) or "source" not in input or "target" not in input:
        raise ValueError('the input must be {"source": "data://...", "target": "data://..."}')
    client = Algorithmia.client()
    content = client.file(input["source"]).getBytes()
    client.file(input["target"]).put(content)
    return {"source": input["source"], "target": input["target"], "bytes": len(content)}


algorithm = ADK(apply)

if __name__ == "__main__":
    algorithm.init({"source": "data://.my/c/f", "target": "data://.algo/temp/x"})
