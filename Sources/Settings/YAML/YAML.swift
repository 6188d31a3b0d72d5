// Reads a text or a file into a YAML tree, within bounds on size, depth and number of values.

/// Reads YAML 1.1 documents with libyaml.
///
/// One document a text; keys are scalars and unique; anchors and aliases are resolved, and each use of an alias counts all its values, so
/// that a few lines cannot expand to millions; merge keys (`<<`) and tags beyond YAML's own are refused.
public enum YAML {
    /// The most bytes a document may have.
    public static let maximumBytes = 1 << 20
    /// The most levels sequences and mappings may nest.
    public static let maximumDepth = 64
    /// The most values and keys a document may have, aliases expanded.
    public static let maximumNodes = 100_000

    /// The document in `text`; an empty text is a null scalar at line 1.
    /// - Parameter file: the file name in messages and nodes.
    public static func parse(text: String, file: String) throws(SettingsFaults) -> YAMLNode {
        guard text.utf8.count <= maximumBytes else {
            throw SettingsFaults([Fault(.file(file, line: nil), "is larger than \(maximumBytes) bytes")])
        }
        guard let parser = YAMLParserHandle(text.utf8) else {
            throw SettingsFaults([Fault(.file(file, line: nil), "cannot be parsed: no memory")])
        }
        var builder = YAMLTreeBuilder(file: file)
        do {
            while try builder.handled(parser.next()) {}
        } catch {
            builder.failed(error, hasTabs: text.utf8.contains(UInt8(ascii: "\t")))
        }
        return try builder.finish()
    }

    /// The document in the file at `path`. A file without one is refused: a file that is being written, or was cut, sets nothing.
    public static func load(path: String) throws(SettingsFaults) -> YAMLNode {
        let text: String
        do {
            text = try TextFile.read(path, atMost: maximumBytes)
        } catch {
            throw SettingsFaults([Fault(.file(path, line: error.line), error.sentence)])
        }
        let document = try parse(text: text, file: path)
        guard !document.isNull else {
            throw SettingsFaults([Fault(.file(path, line: nil), "holds nothing; write {} where that is meant")])
        }
        return document
    }
}
