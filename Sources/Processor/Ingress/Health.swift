// Answers whether this process is ready, and if not, why.

import Admission
import Backpressure
import HTTPServer
import Pipeline
import Platform
import Records
import Synchronization

/// Readiness by role. Ingress and all: ready while events can be produced, whatever the worker's state, which is reported, and while load is
/// shed or Kafka is away for less than a minute; worker: ready while it applies events. A process that stops is not ready.
final class Health: Sendable {
    private let role: Role
    private let eventProducer: EventProducer?
    private let shedding: IngressShedding?
    private let snapshot: @Sendable () -> PipelineSnapshot?
    private let clock: @Sendable () -> UInt64
    /// The last snapshot, and until when it is used.
    private let recent = Mutex<(until: UInt64, snapshot: PipelineSnapshot?)>((0, nil))
    private let phase = Mutex("starting")
    /// Why topics are not read that do not exist yet.
    private let missingTopics = Mutex<[String]>([])

    /// - Parameter clock: monotonic nanoseconds.
    init(
        role: Role, eventProducer: EventProducer?, shedding: IngressShedding? = nil,
        clock: @escaping @Sendable () -> UInt64 = MonotonicClock.nanoseconds,
        snapshot: @escaping @Sendable () -> PipelineSnapshot?
    ) {
        self.role = role
        self.eventProducer = eventProducer
        self.shedding = shedding
        self.clock = clock
        self.snapshot = snapshot
    }

    /// - Parameter phase: what the process does before there is a pipeline, and after.
    func entered(_ phase: String) { self.phase.withLock { if $0 != "stopping" { $0 = phase } } }

    /// - Parameter topics: those that the worker would read and that do not exist, a sentence each.
    func update(missingTopics topics: [String]) { missingTopics.withLock { $0 = topics } }

    /// The answer of `/readyz`.
    /// - Parameter isDetailed: say why, and how the worker is; otherwise whether it is ready only.
    func readiness(isDetailed: Bool) -> HTTPResponse {
        var members: [JSONValue.Member] = []
        var problems: [String] = []
        if role != .ingress {
            let (state, reasons, details) = worker()
            members.append(.init("worker", .string(state)))
            members += details
            if role == .worker {
                problems += reasons
            } else {
                members.append(.init("worker_trouble", .array(reasons.map { .string($0) })))
            }
        }
        if role != .worker {
            let unavailability = eventProducer?.unavailability()
            members.append(.init("ingress", .string(unavailability == nil ? "open" : "closed")))
            if let unavailability, unavailability.isLasting { problems.append(unavailability.reason) }
            if let trouble = unavailability?.reason ?? eventProducer?.partitionTrouble {
                members.append(.init("ingress_trouble", .string(trouble)))
            }
            // No problem: the answers of this process tell clients when to come again, which those of a load balancer do not.
            if let decision = shedding?.decision, let cause = decision.cause {
                members.append(.init("shedding", Self.shed(decision, cause)))
            }
        }
        let phase = self.phase.withLock { $0 }
        if phase == "stopping", !problems.contains("the process is stopping") { problems.append("the process is stopping") }
        if !isDetailed { members = [] }
        members.insert(.init("status", .string(problems.isEmpty ? "ready" : "unavailable")), at: 0)
        if isDetailed, !problems.isEmpty { members.insert(.init("reason", .string(problems.joined(separator: "; "))), at: 1) }
        return .json(problems.isEmpty ? 200 : 503, .object(members))
    }

    private static func shed(_ decision: SheddingDecision, _ cause: SheddingCause) -> JSONValue {
        [
            "share": .number((decision.share * 1_000).rounded() / 1_000), "cause": .string(cause.name),
            "retry_after": .integer(decision.retryAfter),
        ]
    }

    private static func stopped(_ stopped: PipelineSnapshot.Stopped) -> JSONValue {
        [
            "partition": .string("\(stopped.source)"), "reason": .string(stopped.reason.kind.rawValue),
            "message": .string(stopped.reason.description),
            "starts_again": .string(stopped.reason.isRechecked ? "by itself" : "by an operator"),
        ]
    }

    /// The paused partitions, by the operator's reason.
    private static func reasons(_ paused: [TopicPartition: String]) -> JSONValue {
        let groups = Dictionary(grouping: paused.keys.sorted()) { paused[$0] ?? "" }.sorted { $0.key < $1.key }
        return .array(
            groups.map { reason, sources in
                ["reason": .string(reason), "partitions": .array(sources.map { .string("\($0)") })]
            })
    }

    /// The pipeline's state, not older than a tenth of a second: anybody may ask, on the loop of the HTTP server.
    private func recentSnapshot() -> PipelineSnapshot? {
        let now = clock()
        return recent.withLock { recent in
            if now >= recent.until { recent = (now + 100_000_000, snapshot()) }
            return recent.snapshot
        }
    }

    private func worker() -> (state: String, problems: [String], details: [JSONValue.Member]) {
        guard let snapshot = recentSnapshot() else {
            let phase = self.phase.withLock { $0 }
            return (phase, ["the worker is \(phase)"], [])
        }
        var problems = snapshot.stopped.map { "partition \($0.source) has stopped: \($0.reason)" }
        problems += missingTopics.withLock { $0 }
        if snapshot.circuit != .closed { problems.append("PostgreSQL is away: the circuit is open, and it is tried again") }
        for partition in snapshot.unclaimed {
            guard let reason = partition.reason else { continue }
            problems.append("partition \(partition.source) is not claimed: \(reason)")
        }
        if snapshot.summary != "running" { problems.append("the worker is \(snapshot.summary)") }
        var details: [JSONValue.Member] = [.init("database", .string(snapshot.circuit == .closed ? "available" : "unavailable"))]
        if !snapshot.stopped.isEmpty { details.append(.init("stopped", .array(snapshot.stopped.map(Self.stopped)))) }
        if let stall = snapshot.stall {
            problems.append("no progress for \(Int(stall.seconds)) s: \(stall.reason.sentence)")
            details.append(.init("stalled", .string(stall.reason.rawValue)))
        }
        // Not a problem: an operator asked for it.
        let paused = snapshot.pausedByOperator
        if !paused.isEmpty { details.append(.init("paused_by_operator", Self.reasons(paused))) }
        return (snapshot.summary, problems, details)
    }
}
