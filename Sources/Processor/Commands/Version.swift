// Owns the versions of the program and of its libraries.

import Decode
import HTTPServer
import Kafka
import Postgres
import Telemetry

/// As `sluice --version` and the man page show it.
let sluiceVersion = "0.1.0"

/// The libraries in use, with their versions.
let libraryVersions = [
    ("librdkafka", KafkaLibrary.version), ("libpq", PostgresLibrary.version), ("simdjson", JSONLibrary.version),
    ("libmicrohttpd", HTTPLibrary.version),
]

extension MetricsRegistry {
    /// Registers the metric that tells the versions.
    func registerBuildInfo() {
        collector("sluice_build_info", type: .gauge, help: "1; its labels are the versions of the program and of its libraries.")
        {
            $0.sample(
                1,
                [
                    "version": sluiceVersion, "librdkafka": KafkaLibrary.version, "libpq": PostgresLibrary.version,
                    "simdjson": JSONLibrary.version, "libmicrohttpd": HTTPLibrary.version,
                ])
        }
    }
}
