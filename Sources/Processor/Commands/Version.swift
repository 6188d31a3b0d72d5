// Owns the versions of the program and of its libraries.

import Decode
import HTTPServer
import Kafka
import Postgres

/// As `sluice --version` and the man page show it.
let sluiceVersion = "0.1.0"

/// The libraries in use, with their versions.
let libraryVersions = [
    ("librdkafka", KafkaLibrary.version), ("libpq", PostgresLibrary.version), ("simdjson", JSONLibrary.version),
    ("libmicrohttpd", HTTPLibrary.version),
]
