"""The REST API: strict about what comes in, RFC 9457 about what goes wrong."""
