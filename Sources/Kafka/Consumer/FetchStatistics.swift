// Reads from librdkafka's statistics what its fetch queues hold, and which partitions have no broker to fetch from.

internal import Records

/// The parts of one statistics report that Sluice uses (STATISTICS.md of librdkafka).
struct FetchStatistics: Equatable {
    /// Records and other elements in the fetch queues of all partitions (`fetchq_cnt`).
    private(set) var records = 0
    /// Bytes of the payloads in them (`fetchq_size`).
    private(set) var bytes = 0
    /// Partitions that are fetched from no broker, or from one that is not connected.
    private(set) var unreachable: Set<TopicPartition> = []

    /// The group's coordinator is connected (`cgrp.state`).
    private(set) var isCoordinatorUp = false

    /// Bytes that librdkafka holds, with what it keeps for each record.
    var prefetchedBytes: Int { bytes + records * PrefetchShare.overheadPerRecord }

    /// - Parameter json: one report.
    init(_ json: UnsafeBufferPointer<UInt8>) {
        var connected: Set<Int> = []
        var node = -1
        var broker = -1
        JSONWalk.values(of: json) { names, value in
            // brokers / NAME / field, topics / NAME / partitions / NUMBER / field. `nodeid` precedes `state`, `broker` precedes `fetchq_cnt`.
            if names.count == 3, names[0].isText("brokers") {
                if names[2].isText("nodeid") { node = value.number ?? -1 }
                // Without a leader a partition is at an internal broker, which has the number −1, as have addresses to begin with.
                if names[2].isText("state"), value.isText("UP"), node >= 0 { connected.insert(node) }
            } else if names.count == 5, names[2].isText("partitions"), names[0].isText("topics") {
                if names[4].isText("broker") {
                    broker = value.number ?? -1
                } else if names[4].isText("fetchq_cnt") {
                    records += value.number ?? 0
                    guard !connected.contains(broker), let partition = Int32(exactly: names[3].number ?? -1), partition >= 0
                    else { return }
                    unreachable.insert(TopicPartition(String(decoding: names[1], as: UTF8.self), partition))
                } else if names[4].isText("fetchq_size") {
                    bytes += value.number ?? 0
                }
            } else if names.count == 2, names[0].isText("cgrp"), names[1].isText("state") {
                isCoordinatorUp = value.isText("up")
            }
        }
    }
}

/// Walks through a JSON object that is known to be well-formed.
private enum JSONWalk {
    /// Calls `body` with each number, string and word, and the names that lead to it. Strings come without quotes, escapes as they are.
    /// Elements of arrays have the array's name.
    static func values(
        of json: UnsafeBufferPointer<UInt8>, _ body: (_ names: [Bytes], _ value: Bytes) -> Void
    ) {
        var names: [Bytes] = []
        // For each open bracket whether it is an object, whose names are pushed and popped.
        var isObject: [Bool] = []
        var isName = false
        var at = 0
        while at < json.count {
            let first = at
            at += 1
            switch json[first] {
            case UInt8(ascii: "{"):
                isObject.append(true)
                isName = true
            case UInt8(ascii: "["):
                isObject.append(false)
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                // An empty object has no name to leave.
                if isObject.popLast() == true, !isName { _ = names.popLast() }
                isName = false
            case UInt8(ascii: ","):
                if isObject.last == true {
                    _ = names.popLast()
                    isName = true
                }
            case UInt8(ascii: "\""):
                while at < json.count, json[at] != UInt8(ascii: "\"") { at += json[at] == UInt8(ascii: "\\") ? 2 : 1 }
                let text = json[min(first + 1, json.count)..<min(at, json.count)]
                at += 1
                if isName { names.append(text) } else { body(names, text) }
                isName = false
            case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"):
                while at < json.count, !",]} ".utf8.contains(json[at]) { at += 1 }
                body(names, json[first..<at])
            default: break
            }
        }
    }
}

private typealias Bytes = UnsafeBufferPointer<UInt8>.SubSequence

extension Bytes {
    fileprivate func isText(_ text: StaticString) -> Bool {
        count == text.utf8CodeUnitCount
            && elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// The integer that the bytes spell.
    fileprivate var number: Int? {
        var magnitude = 0
        let isNegative = first == UInt8(ascii: "-")
        for digit in isNegative ? dropFirst() : self {
            guard UInt8(ascii: "0")...UInt8(ascii: "9") ~= digit else { return nil }
            magnitude = magnitude &* 10 &+ Int(digit - UInt8(ascii: "0"))
        }
        return isNegative ? -magnitude : magnitude
    }
}
