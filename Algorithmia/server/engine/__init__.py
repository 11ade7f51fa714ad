"""Running algorithms: the engine interface, the local pool of worker processes, and the protocol between them."""
