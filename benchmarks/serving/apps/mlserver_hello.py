"""MLServer's model; `contenders.py` writes its settings."""

from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceResponse


class Hello(MLModel):
    async def predict(self, payload):
        (name,) = StringCodec.decode_input(payload.inputs[0])
        output = StringCodec.encode_output("greeting", ["Hello " + name])
        return InferenceResponse(model_name=self.name, outputs=[output])
