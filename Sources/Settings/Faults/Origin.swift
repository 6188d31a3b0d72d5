// Owns the source of a value, for faults and for the effective configuration.

/// The source of a value, or of a fault.
public enum Origin: Sendable, Hashable, CustomStringConvertible {
    /// No source sets it.
    case defaults
    /// A file, at a line counted from 1 where one is known.
    case file(String, line: Int?)
    /// An environment variable, by name.
    case environment(String)

    /// `; see line 12` where a line is known, else nothing.
    var place: String { if case .file(_, let line?) = self { "; see line \(line)" } else { "" } }

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
