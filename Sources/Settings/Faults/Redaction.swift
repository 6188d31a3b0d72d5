// Covers secrets in displayed texts: connection strings keep their form and lose their passwords.

/// Covers secrets.
public enum Redaction {
    /// The text in place of a secret.
    public static let cover = "***"

    /// A connection string as libpq takes it, URI or keywords, with its passwords covered.
    ///
    /// An ambiguous text is covered further: in a URI everything between the first `:` and the last `@`; a keyword string that cannot be
    /// parsed is covered whole.
    public static func connectionString(_ text: String) -> String {
        let bytes = Array(text.utf8)
        if let start = endOfScheme(bytes) { return uri(bytes, afterScheme: start) }
        return keywords(bytes) ?? cover
    }

    /// Whether a setting of this name holds a secret: passwords, secrets, tokens, private keys, credentials.
    public static func isSecretName(_ name: String) -> Bool {
        let name = name.lowercased()
        let marks = [
            "password", "passwd", "secret", "token", "credential", "jaas", "private", "passphrase", "oauthbearer.config",
        ]
        return marks.contains { name.contains($0) } || name.hasSuffix("key.pem") || name.hasSuffix("api.key")
    }

    /// The index after `scheme://`; `nil` where the text has no scheme.
    private static func endOfScheme(_ text: [UInt8]) -> Int? {
        guard let colon = text.firstIndex(of: UInt8(ascii: ":")), colon > 0, text[colon...].starts(with: "://".utf8) else {
            return nil
        }
        let isScheme = text[..<colon].allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."): true
            default: false
            }
        }
        return isScheme ? colon + 3 : nil
    }

    /// Covers the union of what may be the user's password and of all secret parameters: a password may hold `?`, `&` and `@`,
    /// and a parameter `:` and `@`.
    private static func uri(_ text: [UInt8], afterScheme start: Int) -> String {
        var isSecret = [Bool](repeating: false, count: text.count)
        if let at = text.lastIndex(of: UInt8(ascii: "@")), at >= start,
            let colon = text[start..<at].firstIndex(of: UInt8(ascii: ":"))
        {
            for index in colon + 1..<at { isSecret[index] = true }
        }
        let separators = [UInt8(ascii: "?"), UInt8(ascii: "&")]
        for parameter in text[start...].split(whereSeparator: separators.contains) {
            guard let equals = parameter.firstIndex(of: UInt8(ascii: "=")),
                isSecretName(percentDecoded(parameter[..<equals]))
            else { continue }
            for index in equals + 1..<parameter.endIndex { isSecret[index] = true }
        }
        var result: [UInt8] = []
        for index in text.indices {
            if !isSecret[index] {
                result.append(text[index])
            } else if !isSecret[index - 1] {
                result += cover.utf8
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// `keyword = value` pairs between spaces; values may be quoted with ' and escape with \ (libpq, "Keyword/Value Connection
    /// Strings"). `nil` where the text has another shape.
    private static func keywords(_ text: [UInt8]) -> String? {
        var pairs: [String] = []
        var rest = text[...].drop(while: isSpace)
        while !rest.isEmpty {
            guard let equals = rest.firstIndex(of: UInt8(ascii: "=")) else { return nil }
            let name = trimmed(rest[..<equals])
            guard !name.isEmpty, !name.contains(where: { isSpace($0) || $0 == UInt8(ascii: "'") }) else { return nil }
            rest = rest[(equals + 1)...].drop(while: isSpace)
            guard let end = endOfValue(rest) else { return nil }
            let keyword = String(decoding: name, as: UTF8.self)
            pairs.append("\(keyword)=" + (isSecretName(keyword) ? cover : String(decoding: rest[..<end], as: UTF8.self)))
            rest = rest[end...].drop(while: isSpace)
        }
        return pairs.joined(separator: " ")
    }

    private static func endOfValue(_ text: ArraySlice<UInt8>) -> Int? {
        let isQuoted = text.first == UInt8(ascii: "'")
        var index = text.startIndex + (isQuoted ? 1 : 0)
        while index < text.endIndex {
            switch text[index] {
            case UInt8(ascii: "'") where isQuoted: return index + 1
            case UInt8(ascii: "\\"):
                index += 1
                guard index < text.endIndex else { return nil }
            case let byte where !isQuoted && isSpace(byte): return index
            default: break
            }
            index += 1
        }
        return isQuoted ? nil : text.endIndex
    }

    private static func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let end = text.lastIndex { !isSpace($0) }.map { $0 + 1 } ?? text.startIndex
        return text[..<end].drop(while: isSpace)
    }

    /// C's `isspace` in the C locale.
    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    private static func percentDecoded(_ text: ArraySlice<UInt8>) -> String {
        var bytes: [UInt8] = []
        var rest = text
        while let first = rest.popFirst() {
            if first == UInt8(ascii: "%"), rest.count >= 2,
                let byte = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(byte)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(first)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
