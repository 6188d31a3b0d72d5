// Owns which mapping reads a topic.

internal import Platform
internal import Synchronization

/// The topics of mappings that are used together.
///
/// A topic that several of the route's mappings read is routed: ``Route`` says for each of its records which of them decodes it. Wherever a
/// mapping's position is asked for, ``route`` stands for all of them.
public final class TopicRoutes: Sendable {
    /// The positions of the route's mappings, in the order of its tables; empty: there is no route.
    public let routed: [Int]
    /// What stands for the route among the positions of mappings: their number.
    public let route: Int
    private let names: [String: [Int]]
    private let patterns: [(pattern: TopicPattern, mapping: Int)]
    /// The readers of topics that were asked for and that expressions may match.
    private let known = Mutex<[String: [Int]]>([:])

    /// - Parameters:
    ///   - mappings: the topics of each.
    ///   - routed: the positions of the route's mappings.
    public init(_ mappings: [[String]], routed: [Int] = []) {
        var names: [String: [Int]] = [:]
        var patterns: [(TopicPattern, Int)] = []
        for (index, topics) in mappings.enumerated() {
            for topic in topics {
                if !TopicPattern.isPattern(topic) {
                    names[topic, default: []].append(index)
                } else if let pattern = try? TopicPattern(topic) {
                    // One that cannot be compiled is a fault of its mapping.
                    patterns.append((pattern, index))
                }
            }
        }
        self.names = names
        self.patterns = patterns
        self.routed = routed
        route = mappings.count
    }

    /// The position of the mapping that reads a topic: the one that names it, or the first with an expression that matches; ``route`` where
    /// the topic is routed; `nil`: none.
    public func mapping(of topic: String) -> Int? {
        let readers = readers(of: topic)
        return readers.count > 1 && readers.allSatisfy(routed.contains) ? route : readers.first
    }

    /// The positions of several mappings whose expressions match a topic that none of them names, and that is not routed: it is not known
    /// whose it is.
    public func conflict(over topic: String) -> [Int]? {
        let readers = readers(of: topic)
        return readers.count > 1 && !readers.allSatisfy(routed.contains) ? readers : nil
    }

    /// ``conflict(over:)`` as a sentence.
    /// - Parameter names: the names of the mappings.
    public func conflict(over topic: String, names: [String]) -> String? {
        conflict(over: topic).map { mappings in
            let names = mappings.map { names[$0] }.joined(separator: " and ")
            return "topic \(topic) matches expressions of the mappings \(names); name it in one of them"
        }
    }

    /// The mappings that name a topic, or else those whose expressions match it. If only mappings of the route name it, also those of the
    /// route whose expressions match it.
    public func readers(of topic: String) -> [Int] {
        let naming = names[topic] ?? []
        if patterns.isEmpty || !naming.allSatisfy(routed.contains) { return naming }
        return known.withLock { known in
            if let found = known[topic] { return found }
            var found = naming
            for (pattern, mapping) in patterns
            where (naming.isEmpty || routed.contains(mapping)) && !found.contains(mapping) && pattern.matches(topic) {
                found.append(mapping)
            }
            // Requests of operators may name any topic.
            if known.count == 10_000 { known = [:] }
            known[topic] = found
            return found
        }
    }
}
