"""From a push to an answer: how long it takes, many at once, and with a server that is killed in between."""
