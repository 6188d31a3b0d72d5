// Declares the sections `http` and `log`.

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
    var adminOnLoopback = false
    var metricsToken = ""
    var connections = 4096
    var connectionsPerAddress = 1024
    var idleTimeout = Duration.seconds(75)
    var headerTimeout = Duration.seconds(10)
    var bodyTimeout = Duration.seconds(10)
    var bodyRate = 500
    var maxHeaderBytes = 16 << 10
    var maxEventBytes = 1_000_000
    var maxBodyBytes = 1 << 30
    var maxBatchEvents = 10_000_000
    var trustedProxies: [IPNetwork] = []
    var shutdownDelay = Duration.seconds(5)

    static let section = Section<HTTPSettings>(
        "http", help: "The HTTP server: POST /send, metrics, health and /admin.",
        keys: [
            Key(
                "host", \.host, .string,
                help:
                    "Address to listen on; localhost: 127.0.0.1 and ::1. An address other than loopback needs tokens, or "
                    + "allow_unauthenticated: true."),
            Key("port", \.port, .int(in: 0...65_535), help: "Port to listen on; 0: any free port, which the log names."),
            Key(
                "tls_certificate", \.tlsCertificate, .path,
                help:
                    "PEM file of the server's certificate, followed by the intermediate certificates. Empty: plain HTTP. A "
                    + "renewed file is used for the connections that follow."),
            Key("tls_key", \.tlsKey, .path, help: "PEM file of the certificate's private key, unencrypted."),
            Key(
                "tokens", \.tokens,
                .secrets.checked(
                    "must hold tokens of 16 to 256 characters without spaces, no two alike, under names of letters, digits, ., _ and -",
                    areTokens),
                help:
                    "Bearer tokens of POST /send by client name: {billing: 3f...}. With any token set, every request needs "
                    + "one. Put them into a file that SLUICE_HTTP_TOKENS_FILE names: one `name: token` a line.",
                secrecy: .secret, reload: .live),
            Key(
                "allow_unauthenticated", \.allowUnauthenticated, .bool,
                help: "Listen on an address other than loopback without tokens."),
            Key(
                "max_event_bytes", \.maxEventBytes, .bytes(in: 16...32 << 20),
                help:
                    "The most bytes of an event; a larger one is answered 413. Events being read share 64 MiB, the first 4 "
                    + "KiB of each not counted.",
                reload: .live),
            Key(
                "max_body_bytes", \.maxBodyBytes, .bytes(in: 16...1 << 40),
                help:
                    "The most bytes of a batch. A batch is read piece by piece, so its length costs no memory.", reload: .live
            ),
            Key(
                "max_batch_events", \.maxBatchEvents, .int(in: 1...1_000_000_000),
                help:
                    "The most events of a batch. Each takes one byte until the request is answered; the results of all "
                    + "requests and the events read in part share 64 MiB.", reload: .live),
            Key(
                "trusted_proxies", \.trustedProxies,
                .list(of: .form("IP network", mustBe: "an IP address or network such as 10.0.0.7 or 10.0.0.0/8")),
                help:
                    "Addresses of your own proxies, each of which appends the caller's address to X-Forwarded-For: "
                    + "[10.0.0.0/8, \"fd00::/8\"]. The header is believed from them only: the client is its last entry that is no "
                    + "such proxy. Empty: the client is the other end of the connection.", reload: .live),
            Key(
                "admin_token", \.adminToken, optionalToken,
                help:
                    "Bearer token of the routes under /admin; SLUICE_HTTP_ADMIN_TOKEN_FILE names a file with it. Empty: these "
                    + "routes do not exist, unless admin_on_loopback is true.",
                secrecy: .secret, reload: .live),
            Key(
                "admin_on_loopback", \.adminOnLoopback, .bool,
                help:
                    "Without admin_token and while the server listens on loopback, take requests to /admin from this machine. A "
                    + "proxy or tunnel on it may make requests of others look so.", reload: .live),
            Key(
                "metrics_token", \.metricsToken, optionalToken,
                help:
                    "Bearer token of /metrics, and of the details of /readyz; SLUICE_HTTP_METRICS_TOKEN_FILE names a file with "
                    + "it. Empty: requests from this machine may read them while the server listens on loopback; elsewhere "
                    + "/metrics does not exist.",
                secrecy: .secret, reload: .live),
            Key(
                "connections", \.connections, .int(in: 1...65_535),
                help:
                    "Connection limit. A request beyond it, or beyond connections_per_address, takes the place of an idle "
                    + "connection of the address with the most; if none is idle, it gets 503. 64 further slots answer health checks, "
                    + "metrics and /admin.",
                reload: .live),
            Key(
                "connections_per_address", \.connectionsPerAddress, .int(in: 0...65_535),
                help:
                    "Connection limit per IPv4 address or IPv6 /64; 0: no limit, for servers behind a proxy, where all "
                    + "connections have one address.",
                reload: .live),
            Key(
                "idle_timeout", \.idleTimeout, .duration(in: .seconds(1) ... .seconds(3600)),
                help:
                    "A connection without a request is closed after this time. It should be longer than the idle timeout of a "
                    + "load balancer in front, usually 60 s. A change applies to new connections.",
                reload: .live),
            Key(
                "shutdown_delay", \.shutdownDelay, .duration(in: .zero ... .seconds(300)),
                help:
                    "How long events are still taken after SIGTERM, while /readyz answers 503 and responses carry Connection: "
                    + "close, so that load balancers send them elsewhere. Not in role worker.",
                reload: .live),
            Key(
                "header_timeout", \.headerTimeout, .duration(in: .seconds(1) ... .seconds(600)),
                help:
                    "Time for a complete request header, from the start of the connection; on a kept-alive connection from "
                    + "the end of idle_timeout after the last response.",
                reload: .live),
            Key(
                "body_timeout", \.bodyTimeout, .duration(in: .seconds(1) ... .seconds(600)),
                help:
                    "Time after which a request body must have arrived at body_bytes_per_second on average.", reload: .live),
            Key(
                "body_bytes_per_second", \.bodyRate, .bytes(in: 0...1 << 20),
                help:
                    "Minimum average transfer rate after body_timeout, of request bodies and of reading batch results. "
                    + "Faster transfer is credited, up to idle_timeout's worth; time in which the server does not read does "
                    + "not count. 0: only idle_timeout applies, for clients that stream events as they occur.",
                reload: .live),
            Key(
                "max_header_bytes", \.maxHeaderBytes, .bytes(in: 4 << 10...128 << 10),
                help:
                    "Memory of a connection: the limit of a request header, and the size of the pieces in which bodies are "
                    + "read."),
        ],
        rules: [
            Rule(
                "host", "tokens", "allow_unauthenticated",
                sentence:
                    "must be a loopback address (127.0.0.1, ::1, localhost) unless there are tokens or allow_unauthenticated is true"
            ) { $0.allowUnauthenticated || !$0.tokens.isEmpty || isLoopback($0.host) },
            Rule(
                "tokens", "admin_token", "metrics_token",
                sentence: "must not hold a token that has another purpose: each of the three needs tokens of its own"
            ) { http in
                let own = [http.adminToken, http.metricsToken].filter { !$0.isEmpty }
                return Set(own).count == own.count && Set(own).isDisjoint(with: http.tokens.values)
            },
            Rule("tls_certificate", "tls_key", sentence: "must be set together, or neither") {
                $0.tlsCertificate.isEmpty == $0.tlsKey.isEmpty
            },
            Rule("max_body_bytes", "max_event_bytes", sentence: "must not be less than max_event_bytes") {
                $0.maxBodyBytes >= $0.maxEventBytes
            },
        ])

    /// The files of the certificate and its key; `nil`: the server speaks plain HTTP.
    var certificateFiles: (certificate: String, key: String)? {
        tlsCertificate.isEmpty || tlsKey.isEmpty ? nil : (tlsCertificate, tlsKey)
    }

    /// The address that the log names.
    /// - Parameter port: the one the server listens on; a free one where ``port`` is 0.
    func url(port: UInt16) -> String {
        "\(certificateFiles == nil ? "http" : "https")://\(host.contains(":") ? "[\(host)]" : host):\(port)"
    }

    /// What a bearer token may be (RFC 6750 allows fewer characters).
    private static func isToken(_ text: String) -> Bool {
        BearerTokens.lengths.contains(text.utf8.count)
            && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }

    private static let optionalToken = ValueKind<String>.string.checked(
        "must be empty, or at least 16 characters without spaces, and at most 256"
    ) { $0.isEmpty || isToken($0) }

    private static func areTokens(_ tokens: [String: String]) -> Bool {
        tokens.keys.allSatisfy { $0.isName(with: "._-") } && tokens.values.allSatisfy(isToken)
            && Set(tokens.values).count == tokens.count
    }

    /// Whether a host is a loopback address, by name or in full numeric form.
    static func isLoopback(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let isIPv4 = parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
        return isIPv4 || host == "localhost" || host == "::1"
    }
}

extension String {
    /// Whether it has 1 to 64 characters, each an ASCII letter, a digit or one of `others`.
    func isName(with others: String) -> Bool {
        (1...64).contains(utf8.count)
            && utf8.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                default: others.utf8.contains(byte)
                }
            }
    }
}

struct LogSettings: Sendable {
    var level = LogLevel.info
    var format = LogFormat.text

    static let section = Section<LogSettings>(
        "log", help: "Log lines on standard error.",
        keys: [
            Key("level", \.level, .choice, help: "Lines below this level are not written.", reload: .live),
            Key("format", \.format, .choice, help: "text: key=value; json: one object a line."),
        ])
}
