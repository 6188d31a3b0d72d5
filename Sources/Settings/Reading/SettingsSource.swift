// Owns the sources of settings and their precedence.

/// Where settings come from. The environment takes precedence over the file, and the file over the defaults.
public struct SettingsSource: Sendable {
    /// Prefix of the environment variables that set keys.
    public static let environmentPrefix = "SLUICE_"

    /// The parsed file, if there is one.
    public let file: YAMLNode?
    /// Environment variables by name, without ``ServiceLinks``; those without the prefix are ignored.
    public let environment: [String: String]
    /// Prefixes of `SLUICE_…` variables that are not settings, such as `SLUICE_TEST_`.
    public let ignoredPrefixes: [String]

    /// Settings from a file and the environment.
    public init(file: YAMLNode? = nil, environment: [String: String] = [:], ignoredPrefixes: [String] = []) {
        self.file = file
        let links = ServiceLinks(environment).services
        self.environment = environment.filter { links[$0.key] == nil }
        self.ignoredPrefixes = ignoredPrefixes
    }

    /// The variable that sets a key: `SLUICE_HTTP_PORT` for `http.port`.
    public static func environmentName(_ key: String) -> String {
        environmentPrefix + String(key.uppercased().map { $0 == "." || $0 == "-" ? "_" : $0 })
    }

    /// Whether the environment sets a variable, or names a file that holds its value.
    func isSet(_ variable: String) -> Bool { environment[variable] != nil || environment[variable + "_FILE"] != nil }

    /// The variables that set one entry of a key, without `_FILE`, by the entry's name: `SLUICE_KAFKA_PROPERTIES_SASL_PASSWORD` sets
    /// `sasl.password`.
    func entries(of variable: String) -> [(name: String, variable: String)] {
        let prefix = variable + "_"
        let names = environment.keys.filter { $0.hasPrefix(prefix) && $0 != variable + "_FILE" }
            .map { $0.hasSuffix("_FILE") ? String($0.dropLast("_FILE".count)) : $0 }
        return Set(names).sorted().map { name in
            (String(name.dropFirst(prefix.count).lowercased().map { $0 == "_" ? "." : $0 }), name)
        }
    }

    /// The directory of the file, to which its relative paths belong; empty for the working directory, or without a file.
    var directory: String {
        guard let path = file?.file, let slash = path.lastIndex(of: "/") else { return "" }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

/// The part of the file that is being read.
struct Scope {
    /// The sections above, with dots; empty at the top.
    let path: String
    /// The entries of the file in this part.
    let entries: [YAMLEntry]
    /// Where the part begins, for faults about missing keys.
    let origin: Origin
    /// Whether the environment can set keys here; it cannot inside list items.
    let isOverlaid: Bool
    /// The directory of relative paths.
    let directory: String

    static func join(_ scope: String, _ name: String) -> String { scope.isEmpty ? name : "\(scope).\(name)" }
}
