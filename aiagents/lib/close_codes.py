"""The WebSocket close codes of the contract, as the server and the consumers send them."""

NOT_AUTHENTICATED = 4401
AUTH_TIMED_OUT = 4408
TOO_LARGE = 4413
TOO_MANY = 4429
SHUTTING_DOWN = 4503
