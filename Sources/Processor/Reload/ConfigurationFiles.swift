// Owns the files a configuration is read from: loads it, and digests their content.

import Decode
import Glibc
import Platform
import Settings

/// The sources of a configuration: the file, the environment, and the files these name.
struct ConfigurationFiles: Sendable {
    /// Digests of the files' content, seeded anew in each process.
    struct Content: Sendable, Hashable {
        /// Of the configuration file and of the files that SLUICE_…_FILE names.
        var settings: Int
        /// Of the mapping files and of the key files that they name.
        var mappings: Int
        /// Of the TLS certificate and its key.
        var certificates: Int
        /// Of the files that `kafka.properties` names: certificates, keys, keytabs.
        var kafka: Int

        /// Of all of them.
        var digest: Int { hashValue }
    }

    let path: String?
    let environment: [String: String]

    /// Reads and checks everything.
    func load() throws(SettingsFaults) -> Configuration {
        try Configuration.load(path: path, environment: environment)
    }

    /// The file that the environment names for `postgres.uri`, if it can be read more than once.
    var uriFile: String? {
        environment[SettingsSource.environmentName("postgres.uri") + "_FILE"].flatMap { Self.isReadOnce($0) ? nil : $0 }
    }

    /// Reads the files; blocks. `nil` if the configuration, a secret or a certificate comes from a file that can be read only once, such as
    /// a pipe.
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
        var kafka = Hasher()
        for file in named.kafka { Self.digest(file, into: &kafka) }
        return Content(
            settings: settings.finalize(), mappings: mappings.finalize(), certificates: certificates.finalize(),
            kafka: kafka.finalize())
    }

    /// The files that the configuration names, also if other values in it are invalid.
    private func namedFiles() -> (mappings: [String], certificates: [String], kafka: [String]) {
        do throws(SettingsFaults) {
            let file: YAMLNode?
            if let path { file = try YAML.load(path: path) } else { file = nil }
            let settings = Configuration.survey(file, environment).settings.value
            return (
                settings.mappingFiles + settings.mappingFiles.flatMap(Self.hashKeys),
                settings.http.certificateFiles.map { [$0.certificate, $0.key] } ?? [], settings.kafka.files
            )
        } catch {
            // Not YAML: loading reports it.
            return ([], [], [])
        }
    }

    /// The key files of a mapping. None of one that cannot be read: loading reports it.
    private static func hashKeys(of mapping: String) -> [String] {
        (try? YAML.load(path: mapping)).map(Mapping.hashKeyFiles) ?? []
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
        // Larger than any of them may be: loading refuses it, whatever it holds.
        guard status.st_size <= YAML.maximumBytes, let data = try? SmallFile.read(file, atMost: YAML.maximumBytes) else {
            hasher.combine(status.st_size)
            return
        }
        hasher.combine(data.count)
        data.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}
