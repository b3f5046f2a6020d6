"""Where requests come in: HTTP and WebSocket.

app         who may ask, what may be sent, which function answers
guard       connections that are slow, or many
origin      the address that a client knows this service by
websocket   the same tasks over a WebSocket
openapi     the service's own description
"""
