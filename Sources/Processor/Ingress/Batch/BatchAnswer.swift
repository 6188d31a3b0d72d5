// Decides what a batch is answered when all its results stand.

import HTTPServer

/// The answer to a batch, from its results.
struct BatchAnswer {
    private let results: BatchResults
    private let table: ResultTable
    /// Events by code.
    private let counts: [Int]

    init(_ results: BatchResults, _ table: ResultTable) {
        self.results = results
        self.table = table
        var counts = [Int](repeating: 0, count: ResultTable.codes)
        results.forEachRun { run in
            for code in run { counts[Int(code)] += 1 }
        }
        counts[Int(ResultTable.refused)] += results.refused
        self.counts = counts
    }

    private var sent: Int { counts[Int(ResultTable.sent)] }

    /// 200 where every event was acknowledged, 207 where some were; where none was, the first failure with the results in it.
    var response: HTTPResponse {
        if sent > 0 {
            let isWhole = sent == results.count && results.rest == nil
            return respond(isWhole ? 200 : 207, [], [("Content-Type", "application/json")])
        }
        guard let failure = firstFailure else {
            return .problem(status: 400, title: "Bad Request", detail: "The request holds no event.")
        }
        var (detail, own) = (failure.detail, failure.members)
        // Whoever reads nothing but this must not send again what may have been written.
        if counts[Int(ResultTable.uncertain)] > 0, failure != KafkaAnswers.uncertain {
            detail += " Another event of this request may have been written all the same."
            own = own.filter { $0.name != "possibly_persisted" } + [.init("possibly_persisted", .bool(true))]
        }
        let members: [JSONValue.Member] = [
            .init("type", .string(failure.type)), .init("title", .string(failure.title)),
            .init("status", .integer(failure.status)), .init("detail", .string(detail)),
        ]
        return respond(
            failure.status, members + own, [("Content-Type", "application/problem+json")] + failure.headers)
    }

    /// Of a batch without any success.
    private var firstFailure: EventAnswer? {
        guard results.count > 0 else { return results.rest }
        let code = results.code(0)
        return switch code {
        case ResultTable.refused: results.refusal
        case ResultTable.noted: results.firstNoted
        default: table.answer(code)
        }
    }

    private func respond(
        _ status: Int, _ members: [JSONValue.Member], _ headers: [(name: String, value: String)]
    ) -> HTTPResponse {
        HTTPResponse(
            status: status, headers: headers,
            source: BatchBody(results, table: table, members: members, counts: counts))
    }

    /// Counts every event by its status; the rest of a body that was not read counts as one.
    func count(in counters: EventCounters) {
        for (code, count) in counts.enumerated() where count > 0 {
            switch UInt8(code) {
            case ResultTable.sent: counters.count(200, count)
            case ResultTable.refused: counters.count(results.refusal?.status ?? 503, count)
            case ResultTable.noted: for note in results.notes { counters.count(note.status) }
            default: counters.count(table.answer(UInt8(code))?.status ?? 503, count)
            }
        }
        if let rest = results.rest { counters.count(rest.status) }
    }
}
