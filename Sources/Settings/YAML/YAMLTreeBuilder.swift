// Builds a tree from YAML events, or the list of their faults.

/// Builds the tree of one document from its events.
struct YAMLTreeBuilder {
    /// A sequence or mapping that is not closed yet.
    private struct Level {
        var isMapping: Bool
        var items: [YAMLNode] = []
        var entries: [YAMLEntry] = []
        var lines: [String: Int] = [:]
        var key: (text: String, line: Int)?
        var anchor: String?
        let line: Int
        /// Nodes counted when the level was opened.
        let nodesBefore: Int
        /// Levels below this one, aliases expanded.
        var depth = 0
    }

    private let file: String
    private var levels: [Level] = []
    private var root: YAMLNode?
    private var anchors: [String: (node: YAMLNode, nodes: Int, depth: Int)] = [:]
    private var nodes = 0
    private var documents = 0
    private var faults: [Fault] = []

    init(file: String) { self.file = file }

    /// Takes one event; returns whether another is expected.
    mutating func handled(_ event: YAMLEvent) throws(YAMLProblem) -> Bool {
        switch event.kind {
        case .streamStart, .documentEnd: break
        case .streamEnd: return false
        case .documentStart:
            documents += 1
            guard documents == 1 else { throw refusal(event, "a second document begins; write one document a file") }
        case .scalar(let scalar):
            try count(1, event)
            try check(tag: event.tag, event)
            if expectsKey {
                takeKey(scalar.text, event)
            } else {
                try place(YAMLNode(content: .scalar(scalar), file: file, line: event.line), event, anchor: event.anchor)
            }
        case .alias(let name):
            guard let known = anchors[name] else {
                throw refusal(event, "the alias *\(name) has no anchor &\(name) before it")
            }
            try count(known.nodes, event)
            guard !expectsKey else { throw refusal(event, "a key must be written out, not be an alias") }
            guard levels.count + known.depth <= YAML.maximumDepth else { throw tooDeep(event) }
            // The place of a repeated value is that of its anchor: that line has to be corrected.
            try place(known.node, event, anchor: nil, depth: known.depth)
        case .sequenceStart: try open(event, isMapping: false)
        case .mappingStart: try open(event, isMapping: true)
        case .sequenceEnd, .mappingEnd: try close(event)
        }
        return true
    }

    /// Records why the events ended early.
    mutating func failed(_ problem: YAMLProblem, hasTabs: Bool) {
        var message = problem.sentence
        if let context = problem.context { message += " (\(context))" }
        if hasTabs && message.contains("cannot start any token") {
            message += "; YAML is indented with spaces, not tabs"
        } else if let hint = Self.hints.first(where: { message.contains($0.problem) })?.hint {
            message += "; " + hint
        }
        faults.append(Fault(.file(file, line: problem.line), message))
    }

    /// What mostly has led to a problem, by a part of libyaml's sentence.
    private static let hints: [(problem: String, hint: String)] = [
        ("cannot start any token", "a text that begins with @, ` or % needs quotes"),
        ("mapping values are not allowed", "a key needs a space after its colon, and a text with a colon and a space quotes"),
        ("could not find expected ':'", "a key needs a colon and a space after it"),
        ("block mapping", "the keys of one mapping begin in the same column"),
        ("block collection", "the items of one list begin in the same column"),
        ("flow mapping", "between braces a text with one of , [ ] { } needs quotes, and each brace its counterpart"),
        ("flow sequence", "between brackets a text with one of , [ ] { } needs quotes, and each bracket its counterpart"),
        ("unknown escape character", "between double quotes a backslash is written twice, between single quotes once"),
    ]

    /// The tree, if there is no fault.
    consuming func finish() throws(SettingsFaults) -> YAMLNode {
        guard faults.isEmpty else { throw SettingsFaults(faults) }
        return root ?? YAMLNode(content: .scalar(YAMLScalar(text: "")), file: file, line: 1)
    }

    private var expectsKey: Bool { levels.last.map { $0.isMapping && $0.key == nil } ?? false }

    private mutating func open(_ event: YAMLEvent, isMapping: Bool) throws(YAMLProblem) {
        guard !expectsKey else { throw refusal(event, "a key must be one text, not a list or a mapping") }
        guard levels.count < YAML.maximumDepth else { throw tooDeep(event) }
        try check(tag: event.tag, event)
        let before = nodes
        try count(1, event)
        levels.append(Level(isMapping: isMapping, anchor: event.anchor, line: event.line, nodesBefore: before))
    }

    private mutating func close(_ event: YAMLEvent) throws(YAMLProblem) {
        guard let level = levels.popLast() else { throw refusal(event, "something is closed that was not opened") }
        let content: YAMLNode.Content = level.isMapping ? .mapping(level.entries) : .sequence(level.items)
        let node = YAMLNode(content: content, file: file, line: level.line)
        try place(node, event, anchor: level.anchor, nodes: nodes - level.nodesBefore, depth: level.depth + 1)
    }

    private mutating func place(
        _ node: YAMLNode, _ event: YAMLEvent, anchor: String?, nodes: Int = 1, depth: Int = 0
    ) throws(YAMLProblem) {
        if let anchor { anchors[anchor] = (node, nodes, depth) }
        guard let top = levels.indices.last else {
            root = node
            return
        }
        levels[top].depth = max(levels[top].depth, depth)
        if levels[top].isMapping {
            guard let key = levels[top].key else { throw refusal(event, "a value without a key") }
            levels[top].key = nil
            // A repeated key has been reported; the first one stays.
            if levels[top].lines[key.text] == key.line {
                levels[top].entries.append(YAMLEntry(key: key.text, line: key.line, value: node))
            }
        } else {
            levels[top].items.append(node)
        }
    }

    private mutating func takeKey(_ text: String, _ event: YAMLEvent) {
        let top = levels.count - 1
        levels[top].key = (text, event.line)
        if text == "<<" {
            faults.append(Fault(.file(file, line: event.line), "merge keys (<<) are not read; write the keys out"))
        } else if let first = levels[top].lines[text] {
            levels[top].key = (text, 0)
            faults.append(
                Fault(
                    .file(file, line: event.line),
                    "the key \(Shown.quoted(text)) is a duplicate of line \(first); keep one of them"))
        } else {
            levels[top].lines[text] = event.line
        }
    }

    private mutating func count(_ more: Int, _ event: YAMLEvent) throws(YAMLProblem) {
        nodes += more
        guard nodes <= YAML.maximumNodes else {
            throw refusal(event, "has more than \(YAML.maximumNodes) values, aliases expanded")
        }
    }

    private func check(tag: String?, _ event: YAMLEvent) throws(YAMLProblem) {
        let known: Set<String> = ["str", "int", "float", "bool", "null", "seq", "map"]
        guard let tag, tag != "!" else { return }
        let prefix = "tag:yaml.org,2002:"
        guard tag.hasPrefix(prefix), known.contains(String(tag.dropFirst(prefix.count))) else {
            throw refusal(event, "the tag \(Shown.quoted(tag)) is not known; remove it")
        }
    }

    private func tooDeep(_ event: YAMLEvent) -> YAMLProblem {
        refusal(event, "nests deeper than \(YAML.maximumDepth) levels")
    }

    private func refusal(_ event: YAMLEvent, _ sentence: String) -> YAMLProblem {
        YAMLProblem(sentence: sentence, context: nil, line: event.line)
    }
}
