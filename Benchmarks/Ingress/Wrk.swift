// Runs wrk, with thousands of different keys, as fast as possible or on a schedule.

import Foundation

/// The figures that wrk prints.
struct WrkRun: Codable, Sendable {
    let requestsPerSecond: Double
    /// Milliseconds.
    let median: Double
    let p99: Double
    let requests: Int
    /// Responses other than 2xx.
    let others: Int
}

/// wrk as it is installed. Methods block: not for cooperative threads.
struct Wrk: Sendable {
    /// Bodies that wrk sends in turn.
    private static let singles = 4096
    private static let batches = 64

    let folder: String
    private let program: String

    /// `nil`: it is not installed.
    init?(folder: String) {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let found = path.split(separator: ":").map { "\($0)/wrk" }.first { FileManager.default.isExecutableFile(atPath: $0) }
        guard let found else { return nil }
        (program, self.folder) = (found, folder)
    }

    /// Runs it to its end.
    /// - Parameter events: in one request; more than one go as lines.
    func run(port: UInt16, connections: Int, seconds: Int, events: Int = 1) throws -> WrkRun {
        try WrkRun(of: start(port: port, connections: connections, seconds: seconds, events: events))
    }

    /// Starts it. ``WrkRun/init(of:)`` waits for its end.
    /// - Parameter rate: requests a second by a schedule that no answer slows, as long as one of the connections is free; `nil`: as
    ///   fast as it goes.
    func start(port: UInt16, connections: Int, seconds: Int, events: Int = 1, rate: Int? = nil) throws -> Child {
        let script = "\(folder)/wrk-\(events).lua"
        let text = Self.script(events) + (rate.map(Self.schedule) ?? "")
        try text.write(toFile: script, atomically: true, encoding: .utf8)
        return try Child(
            "wrk", program,
            [
                "-t1", "-c\(connections)", "-d\(seconds)s", "--latency", "--timeout", "10s", "-s", script,
                "http://127.0.0.1:\(port)/send",
            ], log: "\(folder)/wrk.log")
    }

    /// The requests are built before the load begins.
    private static func script(_ events: Int) -> String {
        """
        local requests = {}
        local function event(id)
            return string.format('{"action":"Upsert","message_id":%d,"data":{"name":"n%d","message":"%s"}}', id, id, string.rep("m", 100))
        end
        function init(args)
            local id = 0
            for r = 1, \(events == 1 ? singles : batches) do
                local lines = {}
                for e = 1, \(events) do
                    id = id + 1
                    lines[e] = event(id)
                end
                local kind = "\(events == 1 ? "application/json" : "application/x-ndjson")"
                requests[r] = wrk.format("POST", nil, {["Content-Type"] = kind}, table.concat(lines, "\\n")\(events == 1 ? "" : " .. \"\\n\""))
            end
        end
        local next = 0
        function request()
            next = next % #requests + 1
            return requests[next]
        end

        """
    }

    /// A free connection takes the next moment of the schedule and waits for it; if that has passed, it sends at once.
    private static func schedule(_ rate: Int) -> String {
        """
        local ffi = require("ffi")
        ffi.cdef("typedef struct { long seconds; long nanoseconds; } moment; int clock_gettime(int clock, moment *now);")
        local moment = ffi.new("moment")
        local due
        function delay()
            ffi.C.clock_gettime(1, moment)
            local now = tonumber(moment.seconds) * 1000 + tonumber(moment.nanoseconds) / 1e6
            due = (due or now) + \(1000 / Double(rate))
            return math.max(0, math.floor(due - now + 0.5))
        end

        """
    }
}

extension WrkRun {
    /// Waits for the end of a run.
    init(of child: Child) throws {
        try child.wait()
        guard let run = WrkRun(child.log) else { throw child.failure("printed something unknown") }
        self = run
    }

    /// Reads what wrk prints; `nil` where something is missing.
    init?(_ text: String) {
        func word(after label: String) -> Substring? {
            text.range(of: label).flatMap { text[$0.upperBound...].split(whereSeparator: \.isWhitespace).first }
        }
        func milliseconds(_ label: String) -> Double? {
            guard let word = word(after: label), let value = Double(word.prefix { $0.isNumber || $0 == "." }) else { return nil }
            switch word.drop(while: { $0.isNumber || $0 == "." }) {
            case "us": return value / 1000
            case "ms": return value
            case "s": return value * 1000
            case "m": return value * 60_000
            default: return nil
            }
        }
        let counted = text.range(of: " requests in ").flatMap {
            text[..<$0.lowerBound].split(whereSeparator: \.isWhitespace).last
        }
        guard let rate = word(after: "Requests/sec:").flatMap({ Double($0) }), let median = milliseconds(" 50%"),
            let p99 = milliseconds(" 99%"), let requests = counted.flatMap({ Int($0) })
        else { return nil }
        self.init(
            requestsPerSecond: rate, median: median, p99: p99, requests: requests,
            others: word(after: "Non-2xx or 3xx responses:").flatMap { Int($0) } ?? 0)
    }
}
