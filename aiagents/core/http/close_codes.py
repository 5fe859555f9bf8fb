"""The WebSocket close codes of the contract, as the server and the consumers send them."""

NOT_AUTHENTICATED = 4401
AUTH_TIMED_OUT = 4408
TOO_LARGE = 4413
TOO_MANY = 4429
SHUTTING_DOWN = 4503
# A part that the socket needs is away: come again, as after a shutdown. (RFC 6455's 1013 cannot be sent: autobahn refuses it.)
UNAVAILABLE = 4503
