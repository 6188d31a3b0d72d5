// Owns the environment variables that Kubernetes writes for Services and that look like settings.

/// The variables that Kubernetes writes for each Service into the containers of its namespace, where a Service is called `sluice`, or
/// `sluice-` and more: `SLUICE_PORT=tcp://10.0.0.7:8000`, `SLUICE_SERVICE_HOST` and so on ("Environment variables" in Kubernetes'
/// documentation of Services; Docker's links have the same form). They are no settings, also where one has the name of a key: a Service
/// `sluice-http` writes `SLUICE_HTTP_PORT`.
public struct ServiceLinks: Sendable, Equatable {
    /// The names of the Services, by variable.
    public let services: [String: String]

    /// Finds them in an environment.
    public init(_ environment: [String: String]) {
        var services: [String: String] = [:]
        for (name, value) in environment where name.hasPrefix(SettingsSource.environmentPrefix) {
            let words = name.split(separator: "_", omittingEmptySubsequences: false)
            guard let end = words.indices.dropFirst().first(where: { Self.isForm(Array(words[$0...]), value) }) else { continue }
            services[name] = words[..<end].joined(separator: "-").lowercased()
        }
        self.services = services
    }

    /// Whether the words are what Kubernetes writes after the name of a Service.
    private static func isForm(_ words: [Substring], _ value: String) -> Bool {
        if words == ["SERVICE", "HOST"] || words.starts(with: ["SERVICE", "PORT"]) { return true }
        guard words.first == "PORT" else { return false }
        // A setting may end in PORT as well. Kubernetes writes a URL.
        if words.count == 1 { return ["tcp://", "udp://", "sctp://"].contains(where: value.hasPrefix) }
        guard words.count == 3 || words.count == 4 && ["PROTO", "PORT", "ADDR"].contains(words[3]) else { return false }
        return UInt16(words[1]) != nil && ["TCP", "UDP", "SCTP"].contains(words[2])
    }
}
