// Owns which mapping reads a topic.

internal import Platform
internal import Synchronization

/// The topics of mappings that are used together.
public final class TopicRoutes: Sendable {
    private let names: [String: Int]
    private let patterns: [(pattern: TopicPattern, mapping: Int)]
    /// The mappings whose expressions match a topic that was asked for.
    private let matches = Mutex<[String: [Int]]>([:])

    /// - Parameter mappings: the topics of each.
    public init(_ mappings: [[String]]) {
        var names: [String: Int] = [:]
        var patterns: [(TopicPattern, Int)] = []
        for (index, topics) in mappings.enumerated() {
            for topic in topics {
                if !TopicPattern.isPattern(topic) {
                    names[topic] = index
                } else if let pattern = try? TopicPattern(topic) {
                    // One that cannot be compiled is a fault of its mapping.
                    patterns.append((pattern, index))
                }
            }
        }
        self.names = names
        self.patterns = patterns
    }

    /// The position of the mapping that reads a topic: the one that names it, or the first with an expression that matches; `nil`: none.
    public func mapping(of topic: String) -> Int? { names[topic] ?? mappings(matching: topic).first }

    /// The positions of several mappings whose expressions match a topic that none of them names: it is not known whose it is.
    public func conflict(over topic: String) -> [Int]? {
        if names[topic] != nil { return nil }
        let found = mappings(matching: topic)
        return found.count > 1 ? found : nil
    }

    private func mappings(matching topic: String) -> [Int] {
        if patterns.isEmpty { return [] }
        return matches.withLock { known in
            if let found = known[topic] { return found }
            var found: [Int] = []
            for (pattern, mapping) in patterns where !found.contains(mapping) && pattern.matches(topic) { found.append(mapping) }
            // Requests of operators may name any topic.
            if known.count == 10_000 { known = [:] }
            known[topic] = found
            return found
        }
    }
}
