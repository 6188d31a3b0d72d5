// Owns what settings are read from, and which of several sources wins.

/// Where settings come from. The environment takes precedence over the file, and the file over the defaults.
public struct SettingsSource: Sendable {
    /// Every environment variable that begins so is ours.
    public static let environmentPrefix = "SLUICE_"

    /// The parsed file, if there is one.
    public let file: YAMLNode?
    /// Environment variables by name; those of other programs are passed over.
    public let environment: [String: String]
    /// Beginnings of `SLUICE_…` variables that are not settings: `SLUICE_TEST_`.
    public let ignoredPrefixes: [String]

    /// Settings from a file and the environment.
    public init(file: YAMLNode? = nil, environment: [String: String] = [:], ignoredPrefixes: [String] = []) {
        self.file = file
        self.environment = environment
        self.ignoredPrefixes = ignoredPrefixes
    }

    /// The variable that sets a key: `SLUICE_HTTP_PORT` for `http.port`.
    public static func environmentName(_ key: String) -> String {
        environmentPrefix + String(key.uppercased().map { $0 == "." || $0 == "-" ? "_" : $0 })
    }

    /// The directory of the file, where its relative paths begin; empty where it lies in the working directory or there is none.
    var directory: String {
        guard let path = file?.file, let slash = path.lastIndex(of: "/") else { return "" }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

/// The part of the file that is being read.
struct Scope {
    /// The sections above, with dots; empty at the top.
    let path: String
    /// What the file says here.
    let entries: [YAMLEntry]
    /// Where the part begins, for what is missing from it.
    let origin: Origin
    /// Whether the environment can set keys here; it cannot inside list items.
    let isOverlaid: Bool
    /// Where relative paths begin.
    let directory: String

    static func join(_ scope: String, _ name: String) -> String { scope.isEmpty ? name : "\(scope).\(name)" }
}
