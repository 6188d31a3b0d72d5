// Decides the answer to a batch from its results.

import HTTPServer
import Platform

/// The answer to a batch whose results are all known.
struct BatchAnswer {
    private let results: BatchResults
    /// Events by code.
    private let counts: [Int]

    init(_ results: BatchResults) {
        self.results = results
        var counts = [Int](repeating: 0, count: ResultTable.codes)
        results.forEachRun { run in
            for code in run { counts[Int(code)] += 1 }
        }
        counts[Int(ResultTable.refused)] += results.refused
        self.counts = counts
    }

    private var sent: Int { counts[Int(ResultTable.sent)] }

    /// 200 if every event was acknowledged, 207 if some were; if none was, the first event's problem with the results in it.
    var response: HTTPResponse {
        if sent > 0 {
            let isWhole = sent == results.count && results.rest == nil
            return respond(isWhole ? 200 : 207, [], [("Content-Type", "application/json")])
        }
        guard var problem = firstProblem else {
            return ProblemDetails(status: 400, detail: "The request holds no event.").response
        }
        // A client that reads nothing but this must not send again what may have been written.
        if counts[Int(ResultTable.uncertain)] > 0, problem != KafkaAnswers.uncertain {
            problem.detail += " Another event of this request may have been written all the same."
            problem.possiblyPersisted = true
        }
        return respond(
            problem.status, problem.object, [("Content-Type", "application/problem+json")] + problem.headers)
    }

    /// Of a batch without any success.
    private var firstProblem: ProblemDetails? {
        guard results.count > 0 else { return results.rest }
        let code = results.code(0)
        return switch code {
        case ResultTable.refused: results.refusal
        case ResultTable.noted: results.firstNoted
        default: ResultTable.problem(code)
        }
    }

    private func respond(
        _ status: Int, _ members: [JSONValue.Member], _ headers: [(name: String, value: String)]
    ) -> HTTPResponse {
        HTTPResponse(status: status, headers: headers, source: BatchBody(results, members: members, counts: counts))
    }

    /// Counts every event by its status; the rest of a body that was not read counts as one event.
    func count(in counters: EventCounters) {
        for (code, count) in counts.enumerated() where count > 0 {
            switch UInt8(code) {
            case ResultTable.sent: counters.count(200, count)
            case ResultTable.refused: counters.count(results.refusal?.status ?? 503, count)
            case ResultTable.noted: for note in results.notes { counters.count(note.status) }
            default: counters.count(ResultTable.problem(UInt8(code))?.status ?? 503, count)
            }
        }
        if let rest = results.rest { counters.count(rest.status) }
    }
}
