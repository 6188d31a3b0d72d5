// Declares the sections `http` and `log`.

import Admission
import HTTPServer
import Settings
import Telemetry

struct HTTPSettings: Sendable {
    var host = "127.0.0.1"
    var port = 8000
    var tlsCertificate = ""
    var tlsKey = ""
    var tokens: [String: String] = [:]
    var allowUnauthenticated = false
    var adminToken = ""
    var metricsToken = ""
    var connections = 4096
    var connectionsPerAddress = 1024
    var idleTimeout = Duration.seconds(60)
    var headerTimeout = Duration.seconds(10)
    var bodyTimeout = Duration.seconds(10)
    var bodyRate = 500
    var maxHeaderBytes = 16 << 10
    var maxEventBytes = 1_000_000
    var maxBodyBytes = 1 << 30
    var maxBatchEvents = 10_000_000
    var trustedProxies = 0

    static let section = Section<HTTPSettings>(
        "http", help: "POST /send, metrics and health.",
        keys: [
            Key("host", \.host, .string, help: "Address to listen on."),
            Key("port", \.port, .int(in: 0...65_535), help: "Port to listen on; 0: any free one, which the log names."),
            Key(
                "tls_certificate", \.tlsCertificate, .path,
                help:
                    "PEM file of the server's certificate, with the ones up to the authority's behind it. Empty: plain HTTP. What is in the "
                    + "file follows a change at once, and so does the key."),
            Key("tls_key", \.tlsKey, .path, help: "PEM file of the certificate's private key, not encrypted."),
            Key(
                "tokens", \.tokens,
                .secrets.checked(
                    "must hold tokens of 16 to 256 characters without spaces, no two alike, under names of letters, digits, ., _ and -",
                    areTokens),
                help:
                    "Bearer tokens of POST /send, by the client's name: {billing: 3f…}. One is wanted wherever there are any. Better in a "
                    + "file that SLUICE_HTTP_TOKENS_FILE names: name: token, one a line.",
                secrecy: .secret, reload: .live),
            Key(
                "allow_unauthenticated", \.allowUnauthenticated, .bool,
                help: "Listen on an address other than loopback although nobody is asked who they are."),
            Key(
                "max_event_bytes", \.maxEventBytes, .bytes(in: 16...32 << 20),
                help:
                    "Bytes of one event; a larger one is answered 413. Those that are being read share 64 MiB beyond 4 KiB of each.",
                reload: .live),
            Key(
                "max_body_bytes", \.maxBodyBytes, .bytes(in: 16...1 << 40),
                help: "Bytes of a request with many events. It is read piece by piece: its length costs no memory.", reload: .live
            ),
            Key(
                "max_batch_events", \.maxBatchEvents, .int(in: 1...1_000_000_000),
                help:
                    "Events of one request; each holds one byte until the request is answered. The results of all requests share "
                    + "64 MiB, with the events that are half read.", reload: .live),
            Key(
                "trusted_proxies", \.trustedProxies, .int(in: 0...16),
                help:
                    "Proxies of yours that every request has passed, each of which adds the address it was called from to "
                    + "X-Forwarded-For: the client is found that many from the right, and what it wrote itself lies further left. "
                    + "Above 0 nobody may reach the port past them.", reload: .live),
            Key(
                "admin_token", \.adminToken,
                .string.checked("must be empty, or at least 16 characters without spaces, and at most 256") {
                    $0.isEmpty || isToken($0)
                },
                help:
                    "Bearer token of the routes under /admin. Empty: they work only from this machine, and only while the server "
                    + "listens on loopback.",
                secrecy: .secret, reload: .live),
            Key(
                "metrics_token", \.metricsToken,
                .string.checked("must be empty, or at least 16 characters without spaces, and at most 256") {
                    $0.isEmpty || isToken($0)
                },
                help:
                    "Bearer token of /metrics. Empty: everybody reads them where the server listens on loopback or allow_unauthenticated is "
                    + "true, elsewhere only this machine.",
                secrecy: .secret, reload: .live),
            Key(
                "connections", \.connections, .int(in: 1...65_535),
                help:
                    "Connections at once. Beyond it, and beyond connections_per_address, there are 64 more: health checks, metrics and "
                    + "/admin are served there, everything else is answered 503.",
                reload: .live),
            Key(
                "connections_per_address", \.connectionsPerAddress, .int(in: 0...65_535),
                help:
                    "Connections at once from one IPv4 address, or one /64 of IPv6; 0: no limit, as it should be behind a proxy, through "
                    + "whose address everybody comes.",
                reload: .live),
            Key(
                "idle_timeout", \.idleTimeout, .duration(in: .seconds(1) ... .seconds(3600)),
                help: "When a silent connection is closed. A change counts for connections that come after it.", reload: .live),
            Key(
                "header_timeout", \.headerTimeout, .duration(in: .seconds(1) ... .seconds(600)),
                help:
                    "How long a whole header may take: from the connection's beginning, and on one that is kept from the end of idle_timeout "
                    + "after the last answer.",
                reload: .live),
            Key(
                "body_timeout", \.bodyTimeout, .duration(in: .seconds(1) ... .seconds(600)),
                help: "How long a body may take before it must have come at body_bytes_per_second on average.", reload: .live),
            Key(
                "body_bytes_per_second", \.bodyRate, .bytes(in: 0...1 << 20),
                help:
                    "The least a body must bring, and the least that must be read of a batch's results, on average behind body_timeout; what was "
                    + "faster counts for idle_timeout at most, and time in which the server does not read is not counted. 0: no limit but "
                    + "idle_timeout, for clients that send events as they happen.",
                reload: .live),
            Key(
                "max_header_bytes", \.maxHeaderBytes, .bytes(in: 4 << 10...128 << 10),
                help: "Memory of a connection: the bound on a request's header, and the size of the pieces bodies arrive in."),
        ],
        rules: [
            Rule(
                "host", "tokens", "allow_unauthenticated",
                sentence:
                    "must be a loopback address (127.0.0.1, ::1, localhost) unless there are tokens or allow_unauthenticated is true"
            ) { $0.allowUnauthenticated || !$0.tokens.isEmpty || isLoopback($0.host) },
            Rule("tls_certificate", "tls_key", sentence: "must be set together, or neither") {
                $0.tlsCertificate.isEmpty == $0.tlsKey.isEmpty
            },
            Rule("max_body_bytes", "max_event_bytes", sentence: "must not be less than max_event_bytes") {
                $0.maxBodyBytes >= $0.maxEventBytes
            },
        ])

    /// The files a certificate is read from; `nil`: the server speaks plain HTTP.
    var certificateFiles: (certificate: String, key: String)? {
        tlsCertificate.isEmpty || tlsKey.isEmpty ? nil : (tlsCertificate, tlsKey)
    }

    /// What a bearer token may be (RFC 6750 allows fewer characters).
    private static func isToken(_ text: String) -> Bool {
        BearerTokens.lengths.contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    private static func areTokens(_ tokens: [String: String]) -> Bool {
        let isNamed = tokens.keys.allSatisfy { name in
            (1...64).contains(name.utf8.count)
                && name.utf8.allSatisfy { byte in
                    switch byte {
                    case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"): true
                    default: false
                    }
                }
        }
        return isNamed && tokens.values.allSatisfy(isToken) && Set(tokens.values).count == tokens.count
    }

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
