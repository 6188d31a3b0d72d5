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
        services = Dictionary(
            uniqueKeysWithValues: environment.compactMap { name, value in Self.service(name, value).map { (name, $0) } })
    }

    /// The Service that a variable was written for; `nil`: its name or its value is none of a Service.
    private static func service(_ name: String, _ value: String) -> String? {
        let forms =
            #/(SLUICE(?:_[A-Z0-9]+)*?)_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|(PORT)|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)/#
        guard let match = name.wholeMatch(of: forms) else { return nil }
        // A setting may end in PORT as well. Kubernetes writes a URL.
        if match.output.2 != nil, !["tcp://", "udp://", "sctp://"].contains(where: value.hasPrefix) { return nil }
        return match.output.1.lowercased().replacing("_", with: "-")
    }
}
