// Owns the answer to "where does this value come from", for faults and for the effective configuration.

/// Where a value comes from, or where a fault has to be corrected.
public enum Origin: Sendable, Hashable, CustomStringConvertible {
    /// Nobody set it.
    case defaults
    /// A file, at a line counted from 1 where one is known.
    case file(String, line: Int?)
    /// An environment variable, by name.
    case environment(String)

    /// As messages begin: `config/sluice.yaml:12`, `SLUICE_HTTP_PORT`, `default`.
    public var description: String {
        switch self {
        case .defaults: "default"
        case .file(let name, line: nil): name
        case .file(let name, line: .some(let line)): "\(name):\(line)"
        case .environment(let name): name
        }
    }
}
