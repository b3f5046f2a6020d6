"""Where requests come in: HTTP and WebSocket.

app         who may ask, what may be sent, which function answers
answers     who shows which token, and answers in JSON
administration   what an administrator asks for, below one address
guard       connections that are slow, or many
origin      the address that a client knows this service by
websocket   the same tasks over a WebSocket
openapi     the service's own description
openapi_administration   the same of what administrators ask for
schema      what the descriptions are made of
"""
