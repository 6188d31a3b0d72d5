// Owns the files a configuration is read from: reads it again, and tells whether one of them has changed.

import Foundation
import Glibc
import Settings

/// Where a configuration comes from: the file, what the environment and the command line say, and the files these name.
struct ConfigurationFiles: Sendable {
    /// What the files held at one moment.
    struct Content: Sendable, Equatable {
        /// Of the configuration file and the files the environment names. Digests are seeded anew in each process.
        var settings: Int
        /// Of the mapping files.
        var mappings: Int
        /// Of the TLS certificate and its key.
        var certificates: Int

        /// Of all of them.
        var digest: Int {
            var hasher = Hasher()
            hasher.combine(settings)
            hasher.combine(mappings)
            hasher.combine(certificates)
            return hasher.finalize()
        }
    }

    let path: String?
    let environment: [String: String]
    let overrides: [String: String]

    /// Reads and checks everything, as at the start.
    func load() throws(SettingsFaults) -> Configuration {
        try Configuration.load(path: path, environment: environment, overrides: overrides)
    }

    /// What the files hold now; `nil` where the configuration, a secret or a certificate came from something that can be read only once, such as a pipe.
    /// Blocks for as long as the disk does.
    func read() -> Content? {
        let secrets = environment.sorted { $0.key < $1.key }
            .filter { $0.key.hasPrefix(SettingsSource.environmentPrefix) && $0.key.hasSuffix("_FILE") }.map(\.value)
        guard !([path].compactMap(\.self) + secrets).contains(where: Self.isReadOnce) else { return nil }
        let named = namedFiles()
        guard !named.certificates.contains(where: Self.isReadOnce) else { return nil }
        var settings = Hasher()
        if let path { Self.digest(path, into: &settings) }
        for file in secrets { Self.digest(file, into: &settings) }
        var mappings = Hasher()
        var certificates = Hasher()
        for file in named.mappings { Self.digest(file, into: &mappings) }
        for file in named.certificates { Self.digest(file, into: &certificates) }
        return Content(
            settings: settings.finalize(), mappings: mappings.finalize(), certificates: certificates.finalize())
    }

    /// The files that the configuration names, also where something else in it is wrong.
    private func namedFiles() -> (mappings: [String], certificates: [String]) {
        do throws(SettingsFaults) {
            let file: YAMLNode?
            if let path { file = try YAML.load(path: path) } else { file = nil }
            let settings = Configuration.survey(file, environment, overrides).settings.value
            return (settings.mappings, settings.http.certificateFiles.map { [$0.certificate, $0.key] } ?? [])
        } catch {
            // Not even YAML: that is said when it is loaded, and what it names is not known.
            return ([], [])
        }
    }

    private static func isReadOnce(_ file: String) -> Bool {
        var status = stat()
        return stat(file, &status) == 0 && status.st_mode & S_IFMT != S_IFREG
    }

    private static func digest(_ file: String, into hasher: inout Hasher) {
        hasher.combine(file)
        var status = stat()
        guard stat(file, &status) == 0 else {
            hasher.combine(errno)
            return
        }
        guard status.st_mode & S_IFMT == S_IFREG else { return }
        // More than any of them may hold: what counts then is that it is too large.
        guard status.st_size <= YAML.maximumBytes, let data = FileManager.default.contents(atPath: file) else {
            hasher.combine(status.st_size)
            return
        }
        hasher.combine(data.count)
        data.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}
