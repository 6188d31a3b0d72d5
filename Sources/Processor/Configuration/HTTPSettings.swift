// Declares the sections `http` and `log`.

import HTTPServer
import Settings
import Telemetry

struct HTTPSettings: Sendable {
    var host = "127.0.0.1"
    var port = 8000
    var allowUnauthenticated = false
    var connections = 4096
    var idleTimeout = Duration.seconds(60)
    var maxEventBytes = 1_000_000
    var maxBodyBytes = 1 << 30
    var maxBatchEvents = 10_000_000
    var trustedProxies = 0
    var adminToken = ""

    static let section = Section<HTTPSettings>(
        "http", help: "POST /send, metrics and health.",
        keys: [
            Key("host", \.host, .string, help: "Address to listen on."),
            Key("port", \.port, .int(in: 0...65_535), help: "Port to listen on; 0: any free one, which the log names."),
            Key(
                "allow_unauthenticated", \.allowUnauthenticated, .bool,
                help: "Listen on an address other than loopback although nobody is asked who they are."),
            Key("connections", \.connections, .int(in: 1...65_535), help: "Connections at once."),
            Key(
                "idle_timeout", \.idleTimeout, .duration(in: .seconds(1) ... .seconds(3600)),
                help: "When a silent connection is closed."),
            Key(
                "max_event_bytes", \.maxEventBytes, .bytes(in: 16...64 << 20),
                help: "Bytes of one event; a larger one is answered 413."),
            Key(
                "max_body_bytes", \.maxBodyBytes, .bytes(in: 16...1 << 40),
                help: "Bytes of a request with many events. It is read piece by piece: its length costs no memory.", reload: .live
            ),
            Key(
                "max_batch_events", \.maxBatchEvents, .int(in: 1...1_000_000_000),
                help:
                    "Events of one request; each holds one byte until the request is answered. The results of all requests share "
                    + "64 MiB.", reload: .live),
            Key(
                "trusted_proxies", \.trustedProxies, .int(in: 0...16),
                help:
                    "Proxies of yours that every request has passed, each of which adds the address it was called from to "
                    + "X-Forwarded-For: the client is found that many from the right, and what it wrote itself lies further left. "
                    + "Above 0 nobody may reach the port past them.", reload: .live),
            Key(
                "admin_token", \.adminToken,
                .string.checked("must be empty, or at least 16 characters without spaces") { token in
                    token.isEmpty || (token.utf8.count >= 16 && token.utf8.allSatisfy { (0x21...0x7E).contains($0) })
                },
                help:
                    "Bearer token of the routes under /admin. Empty: they work only from this machine, and only while the server "
                    + "listens on loopback.",
                secrecy: .secret),
        ],
        rules: [
            Rule(
                "host", "allow_unauthenticated",
                sentence: "must be a loopback address (127.0.0.1, ::1, localhost) unless allow_unauthenticated is true"
            ) { $0.allowUnauthenticated || isLoopback($0.host) },
            Rule("max_body_bytes", "max_event_bytes", sentence: "must not be less than max_event_bytes") {
                $0.maxBodyBytes >= $0.maxEventBytes
            },
        ])

    /// The host is this machine's own loopback: by name, or by a whole numeric address.
    static func isLoopback(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let isIPv4 = parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
        return isIPv4 || host == "localhost" || host == "::1"
    }
}

struct LogSettings: Sendable {
    var level = LogLevel.info
    var format = LogFormat.text

    static let section = Section<LogSettings>(
        "log", help: "Lines on standard error.",
        keys: [
            Key("level", \.level, .choice, help: "Lines below this level are not written.", reload: .live),
            Key("format", \.format, .choice, help: "text: key=value; json: one object a line."),
        ])
}
