// Owns the key of a column whose values are hashed, and hashes them.

import CNettle
import Platform
import Records
import Settings

/// How a column's values are hashed: the mapping key `hash`.
enum HashKind: String, CaseIterable {
    case hmacSHA256 = "hmac-sha256"
}

/// The key of a hashed column, as the state of HMAC-SHA-256 (RFC 2104) after its first block. No message and no description shows it.
final class HashKey: Sendable {
    /// Bytes that a key file must have at least, and may have at most.
    private static let sizes = 16...(64 << 10)

    private let table: PlanTable<hmac_sha256_ctx>

    /// What hashes with the key as long as it exists.
    var hasher: ValueHasher { ValueHasher(state: table.start) }

    init(_ key: [UInt8]) {
        var state = hmac_sha256_ctx()
        nettle_hmac_sha256_set_key(&state, key.count, key)
        table = PlanTable([state])
    }

    /// The path of a key file that a mapping file names.
    static func path(_ text: String, in file: String) -> String {
        guard !text.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return text }
        return file[...slash] + text
    }

    /// Reads a key file: its bytes, without the line break at their end if there is one.
    static func load(_ node: YAMLNode, _ subject: String, _ reader: inout MappingReader) -> HashKey? {
        guard let text = reader.string(node, "\(subject): hash_key") else { return nil }
        let path = path(text, in: node.file)
        func fault(_ sentence: String) { reader.fault(node, "\(subject): the key file '\(path)' \(sentence)") }
        do throws(SmallFile.Failure) {
            var key = try SmallFile.read(path, atMost: sizes.upperBound)
            if key.last == UInt8(ascii: "\n") { key.removeLast() }
            if key.isEmpty {
                fault("holds nothing; write at least \(sizes.lowerBound) random bytes into it")
            } else if key.count < sizes.lowerBound {
                fault("has fewer than \(sizes.lowerBound) bytes")
            } else {
                return HashKey(key)
            }
        } catch {
            fault("\(error)")
        }
        return nil
    }
}

/// Hashes values with a key. Valid as long as its ``HashKey``.
struct ValueHasher: BitwiseCopyable, @unchecked Sendable {
    // Licence for @unchecked: the state is never written.

    fileprivate let state: UnsafePointer<hmac_sha256_ctx>

    /// Replaces a value by the 64 lower-case hexadecimal digits of the HMAC of its text: a text as it is, bytes as they are, any other value
    /// in the form of a Kafka key (integers in decimal, times in ISO 8601 and UTC).
    /// - Parameters:
    ///   - value: it was just written, from `start` on.
    ///   - type: what it was written as.
    func replace(_ value: Slice, _ type: ColumnType, from start: Int, in rows: inout ChangeRows) -> Slice {
        var text = value
        if type != .text && type != .bytea {
            let first = rows.values.count
            rows.values.appendText(of: value, ValueCodec(type))
            text = Slice(start: first, length: rows.values.count - first)
        }
        var state = state.pointee
        withUnsafeTemporaryAllocation(byteCount: Int(SHA256_DIGEST_SIZE), alignment: 1) { digest in
            let digest = digest.assumingMemoryBound(to: UInt8.self)
            if let bytes = rows.values.bytes(of: text) {
                nettle_hmac_sha256_update(&state, bytes.count, bytes.assumingMemoryBound(to: UInt8.self).baseAddress)
            }
            nettle_hmac_sha256_digest(&state, digest.count, digest.baseAddress)
            rows.values.truncate(to: start)
            for byte in digest { rows.values.append(hex: byte) }
        }
        return Slice(start: start, length: rows.values.count - start)
    }
}
