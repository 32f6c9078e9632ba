"""Programs that play the clients of parameter servers, each in the environment of its own server's library."""
