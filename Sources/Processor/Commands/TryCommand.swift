// Owns `sluice try`: prints what a mapping makes of events, or compares it with what was expected.

import Decode
import Foundation
import Platform
import Records
import Settings
import Telemetry

/// What `sluice try` is to do.
struct TryOptions: Equatable {
    /// Where the events come from.
    enum Source: Equatable {
        /// A file; `-`: standard input.
        case file(String)
        case topic(String, limit: Int, config: String?)
    }

    let mapping: String
    let source: Source
    /// A file with the lines that should be printed.
    let expected: String?
    let isJSON: Bool
}

enum TryCommand {
    /// - Throws: `SettingsFaults` for a faulty mapping, `CommandError` where the lines are not as expected.
    static func run(_ options: TryOptions) async throws {
        let mapping = try mapping(options.mapping)
        let events: [(position: String, batch: RecordBatch)]
        switch options.source {
        case .file(let path):
            let topic = mapping.topics.first { !TopicPattern.isPattern($0) } ?? "topic"
            events = try EventFile.lines(of: read(path), file: path, topic: topic).map { ("\($0.number)", $0.batch) }
        case .topic(let topic, let limit, let config):
            events = try await TopicReader.records(of: topic, limit: limit, try SluiceSettings.load(config).kafka)
                .map { ("\($0.source)@\($0.records[0].offset)", $0) }
        }
        if events.isEmpty {
            let place =
                switch options.source {
                case .file(let path): path
                case .topic(let topic, _, _): "topic \(topic)"
                }
            DescriptorLogSink.standardError.write(Array("sluice: \(place) has no events\n".utf8))
        }
        let decoder = Decoder(mapping: mapping)
        let lines = events.map { position, batch in
            let trial = decoder.trial(of: batch)
            return options.isJSON ? trial.json(position: position) : "\(position): \(trial.line)"
        }
        guard let expected = options.expected else {
            for line in lines { print(line) }
            return
        }
        let difference = LineDifference.lines(from: LineDifference.lines(of: try read(expected)), to: lines)
        if difference.isEmpty { return print("\(lines.count) events as expected") }
        print("--- \(expected)\n+++ \(options.mapping)")
        for line in difference { print(line) }
        // Before the error, which is written to another file.
        fflush(nil)
        throw CommandError("the events do not become what \(expected) says")
    }

    private static func mapping(_ path: String) throws(SettingsFaults) -> Mapping {
        let node = try YAML.load(path: path)
        do throws(MappingFaults) {
            // One file becomes one mapping, or its faults are thrown.
            return try Mapping.compile([node])[0]
        } catch {
            throw SettingsFaults(error.faults.map { Fault(.file($0.file, line: $0.line), $0.message) })
        }
    }

    private static func read(_ path: String) throws(CommandError) -> [UInt8] {
        do throws(SmallFile.Failure) {
            return try SmallFile.read(path == "-" ? "/dev/stdin" : path)
        } catch {
            throw CommandError("\(path): \(error)")
        }
    }
}

/// Compares texts line by line.
enum LineDifference {
    /// The lines of a file, without the ends that editors give to lines and files: a carriage return, and empty lines.
    static func lines(of text: [UInt8]) -> [String] {
        var lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
        }
        while lines.last == "" { lines.removeLast() }
        return lines
    }

    /// The lines of two texts that differ: `-` before one that is missing, `+` before one that is not expected, and above each run of them
    /// the line's number in both texts; empty where they are equal.
    static func lines(from expected: some BidirectionalCollection<String>, to actual: [String]) -> [String] {
        let expected = Array(expected)
        var removed: Set<Int> = []
        var inserted: Set<Int> = []
        for change in actual.difference(from: expected) {
            switch change {
            case .remove(let offset, _, _): removed.insert(offset)
            case .insert(let offset, _, _): inserted.insert(offset)
            }
        }
        var lines: [String] = []
        var (old, new) = (0, 0)
        var isInRun = false
        while old < expected.count || new < actual.count {
            let (isRemoved, isInserted) = (removed.contains(old), inserted.contains(new))
            guard isRemoved || isInserted else {
                isInRun = false
                (old, new) = (old + 1, new + 1)
                continue
            }
            if !isInRun { lines.append("@@ -\(old + 1) +\(new + 1) @@") }
            isInRun = true
            if isRemoved {
                lines.append("-" + expected[old])
                old += 1
            } else {
                lines.append("+" + actual[new])
                new += 1
            }
        }
        return lines
    }
}
