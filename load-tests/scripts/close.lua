-- wrk takes up no session again: each connection has a whole handshake.
wrk.headers["Connection"] = "close"
