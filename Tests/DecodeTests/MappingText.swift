// Reads the little of YAML that mapping files need, so that tests can be written as files are.

import Decode
import Foundation
import Testing

/// Block mappings by indentation, flow sequences and flow mappings, plain and quoted scalars, comments.
struct MappingText {
    private struct Line {
        let number: Int
        let indent: Int
        let text: String
    }

    private let file: String
    private var lines: ArraySlice<Line>

    /// The root node of a mapping file.
    static func node(_ text: String, file: String = "test.yaml") -> MappingNode {
        var lines: [Line] = []
        for (index, raw) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let content = raw.prefix(while: { $0 == " " }).count
            var kept = raw.dropFirst(content)
            if kept.hasPrefix("#") { kept = "" }
            if let comment = kept.range(of: " #") { kept = kept[..<comment.lowerBound] }
            while kept.last == " " { kept.removeLast() }
            if !kept.isEmpty { lines.append(Line(number: index + 1, indent: content, text: String(kept))) }
        }
        var reader = MappingText(file: file, lines: lines[...])
        return reader.block(indent: 0, line: 1)
    }

    private mutating func block(indent: Int, line: Int) -> MappingNode {
        var entries: [MappingNode.Entry] = []
        let start = lines.first?.number ?? line
        while let line = lines.first, line.indent == indent {
            lines.removeFirst()
            let parts = line.text.split(separator: ":", maxSplits: 1).map(String.init)
            let rest = parts.count == 2 ? parts[1].drop(while: { $0 == " " }) : ""
            let value: MappingNode
            if rest.isEmpty {
                let inner = lines.first.map { $0.indent > indent ? $0.indent : -1 } ?? -1
                value = inner < 0 ? scalar("", line.number) : block(indent: inner, line: line.number)
            } else {
                var flow = rest[...]
                value = self.flow(&flow, line.number)
                if !flow.isEmpty { Issue.record("line \(line.number): '\(flow)' is left over") }
            }
            entries.append(MappingNode.Entry(key: parts[0], line: line.number, value: value))
        }
        return MappingNode(.mapping(entries), file: file, line: start)
    }

    private func scalar(_ text: String, _ line: Int, isPlain: Bool = true) -> MappingNode {
        MappingNode(.scalar(text, isPlain: isPlain), file: file, line: line)
    }

    private func flow(_ text: inout Substring, _ line: Int) -> MappingNode {
        func skip() { text = text.drop(while: { $0 == " " || $0 == "," }) }
        skip()
        switch text.first {
        case "[":
            text.removeFirst()
            var nodes: [MappingNode] = []
            skip()
            while let next = text.first, next != "]" {
                nodes.append(flow(&text, line))
                skip()
            }
            text = text.dropFirst()
            return MappingNode(.sequence(nodes), file: file, line: line)
        case "{":
            text.removeFirst()
            var entries: [MappingNode.Entry] = []
            skip()
            while let next = text.first, next != "}" {
                let key = text.prefix(while: { $0 != ":" })
                text = text.dropFirst(key.count + 1)
                entries.append(MappingNode.Entry(key: String(key), line: line, value: flow(&text, line)))
                skip()
            }
            text = text.dropFirst()
            return MappingNode(.mapping(entries), file: file, line: line)
        case "'", "\"":
            let quote = text.removeFirst()
            let inner = text.prefix(while: { $0 != quote })
            text = text.dropFirst(inner.count + 1)
            return scalar(String(inner), line, isPlain: false)
        default:
            let plain = text.prefix(while: { $0 != "," && $0 != "]" && $0 != "}" })
            text = text.dropFirst(plain.count)
            return scalar(String(plain), line)
        }
    }
}
