// Matches topic names with a regular expression, as librdkafka's subscriptions do.

internal import Glibc

/// A regular expression for topics: a text that begins with `^`. POSIX extended, from the beginning of the name, as in a subscription of
/// librdkafka (`rd_regex_comp`).
public final class TopicPattern: @unchecked Sendable {
    // Licence for @unchecked: regexec() changes nothing of what regcomp() has made (POSIX.1-2017, 2.9.1).

    private let compiled: UnsafeMutablePointer<regex_t>

    /// The topics that Kafka keeps for itself, and whose names it reserves. No expression stands for them.
    public static let internalTopics = ["__consumer_offsets", "__transaction_state", "__share_group_state"]

    /// Whether a mapping's topic is an expression, and not a name.
    public static func isPattern(_ topic: String) -> Bool { topic.utf8.first == UInt8(ascii: "^") }

    /// Compiles an expression.
    /// - Throws: ``Fault``, with the reason of the C library.
    public init(_ text: String) throws(Fault) {
        if let letter = Self.literalEscape(in: text) {
            throw Fault(description: "\\\(letter) means the letter \(letter)" + (letter == "d" ? "; a digit is [0-9]" : ""))
        }
        // No property is set before it has succeeded: deinit frees what regcomp() has made.
        let expression = UnsafeMutablePointer<regex_t>.allocate(capacity: 1)
        let error = regcomp(expression, text, REG_EXTENDED | REG_NOSUB)
        guard error == 0 else {
            var reason = [CChar](repeating: 0, count: 200)
            regerror(error, expression, &reason, reason.count - 1)
            expression.deallocate()
            throw Fault(description: String(decoding: reason.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        compiled = expression
    }

    deinit {
        regfree(compiled)
        compiled.deallocate()
    }

    /// The first letter behind a backslash that other syntaxes of expressions take for a class of characters, and glibc for itself.
    private static func literalEscape(in text: String) -> Character? {
        var isEscaped = false
        for character in text {
            if isEscaped, character.isASCII, character.isLetter, !"wWsSbB".contains(character) { return character }
            isEscaped = !isEscaped && character == "\\"
        }
        return nil
    }

    /// Whether a topic of this name is meant.
    public func matches(_ name: String) -> Bool { regexec(compiled, name, 0, nil, 0) == 0 }

    /// Why a text is no expression.
    public struct Fault: Error, CustomStringConvertible {
        /// A few words.
        public let description: String
    }
}
