// JSON Pointer (RFC 6901), by which a mapping names a field of an event.

/// A parsed JSON Pointer: names of fields, or indices of elements, from the root down.
struct JSONPointer: Hashable, Sendable {
    /// The reference tokens, unescaped. Empty: the whole document.
    let tokens: [String]

    init(tokens: [String]) { self.tokens = tokens }

    /// Parses the string form: empty, or `/` before each token, with `~0` for `~` and `~1` for `/` in tokens. Nil for any other
    /// text.
    init?(_ text: String) {
        guard !text.isEmpty else {
            tokens = []
            return
        }
        guard text.utf8.first == UInt8(ascii: "/") else { return nil }
        var tokens: [String] = []
        for raw in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            guard let token = Self.unescape(raw) else { return nil }
            tokens.append(token)
        }
        self.tokens = tokens
    }

    /// The pointer that was probably meant by a text that is none: a name, or a path of another syntax (`$.a.b[0]`, `a.b`).
    static func meant(by text: String) -> String? {
        let path = text.hasPrefix("$") ? text.dropFirst() : text[...]
        let names = path.split { "./[]".contains($0) }
        let pointer = names.map { "/\($0)" }.joined()
        return names.isEmpty || JSONPointer(pointer) == nil ? nil : pointer
    }

    private static func unescape(_ raw: Substring) -> String? {
        var token = ""
        var isEscaped = false
        for scalar in raw.unicodeScalars {
            switch (isEscaped, scalar) {
            case (true, "0"): token.unicodeScalars.append("~")
            case (true, "1"): token.unicodeScalars.append("/")
            case (true, _): return nil
            case (false, "~"):
                isEscaped = true
                continue
            case (false, _): token.unicodeScalars.append(scalar)
            }
            isEscaped = false
        }
        return isEscaped ? nil : token
    }

    /// The string form.
    var text: String {
        tokens.map { token in
            var escaped = "/"
            for scalar in token.unicodeScalars {
                switch scalar {
                case "~": escaped += "~0"
                case "/": escaped += "~1"
                default: escaped.unicodeScalars.append(scalar)
                }
            }
            return escaped
        }.joined()
    }

    /// The array index that a token stands for: digits without leading zeros. Nil for any other token.
    static func index(_ token: String) -> Int? {
        guard !token.isEmpty, token.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        guard token == "0" || token.utf8.first != UInt8(ascii: "0") else { return nil }
        return Int(token)
    }
}
