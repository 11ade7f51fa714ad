"""The reference's counterpart of ``demo/Hello``: ``lit_api.py PORT``. Runs in the reference's own environment."""

import sys

import litserve


class Hello(litserve.LitAPI):
    """Greets."""

    def setup(self, device):
        pass

    def decode_request(self, request):
        return request["input"]

    def predict(self, name):
        return "Hello " + name

    def encode_response(self, output):
        return {"output": output}


if __name__ == "__main__":
    server = litserve.LitServer(Hello(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
