// Reads the mapping files that a configuration names.

import Foundation
import Platform
import Settings

extension SluiceSettings {
    /// Reads ``mappingFiles``.
    /// - Parameters:
    ///   - origin: where a key is set.
    ///   - faults: those found so far; further ones are added.
    /// - Returns: the root of each file, in their order; `nil` after a fault.
    func readMappings(origin: (_ key: String) -> Origin, _ faults: inout [Fault]) -> [YAMLNode]? {
        // The key has another value, or is there under another name.
        let isSet = origin("mappings") != .defaults
        let isUnknown = faults.contains { fault in
            fault.key == "mappings" || (!isSet && Nearest.name(to: fault.key ?? "", among: ["mappings"]) != nil)
        }
        if isUnknown { return nil }
        let before = faults.count
        var nodes: [YAMLNode] = []
        var named: [String: String] = [:]
        for path in mappingFiles {
            let key = mappings.contains(path) ? "mappings" : "route.tables"
            let file = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
            if let other = named.updateValue(path, forKey: file) {
                let sentence = other == path ? "\(path) is named twice" : "\(path) is named twice: it is the file \(other)"
                faults.append(Fault(origin(key), key: key, sentence + "; a mapping is one file, and read once"))
                continue
            }
            do throws(SettingsFaults) {
                nodes.append(try YAML.load(path: path))
            } catch {
                faults += error.faults.map { fault in
                    // A file that cannot be read: the line that names it is the one to look at.
                    guard fault.origin == .file(path, line: nil) else { return fault }
                    let name = origin(key) == .defaults ? "is not set; \(path), which is read then," : path
                    return Fault(origin(key), key: key, "\(name) \(fault.message)" + Self.suggestion(path))
                }
            }
        }
        return faults.count == before ? nodes : nil
    }

    /// `; did you mean orders.yaml?` where the folder of a file that does not exist has one with a similar name.
    private static func suggestion(_ path: String) -> String {
        let file = URL(fileURLWithPath: path)
        guard !FileManager.default.fileExists(atPath: path),
            let names = try? FileManager.default.contentsOfDirectory(atPath: file.deletingLastPathComponent().path)
        else { return "" }
        return Nearest.name(to: file.lastPathComponent, among: names.sorted()).map { "; did you mean \($0)?" } ?? ""
    }
}
