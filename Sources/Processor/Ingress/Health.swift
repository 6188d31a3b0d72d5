// Answers whether this process can do its work, and if not, why.

import Admission
import Backpressure
import HTTPServer
import Pipeline
import Records
import Synchronization

/// What a process does: take events, apply them, or both.
enum Role: String, Sendable, CaseIterable {
    case all, worker, ingress
}

/// Readiness of a process. Ingress and all: ready while events can be produced, a worker's trouble is named; worker: ready while it
/// works.
final class Health: Sendable {
    private let role: Role
    private let gate: EventProducer?
    private let shedding: IngressShedding?
    private let snapshot: @Sendable () -> PipelineSnapshot?
    private let phase = Mutex("starting")

    init(
        role: Role, gate: EventProducer?, shedding: IngressShedding? = nil,
        snapshot: @escaping @Sendable () -> PipelineSnapshot?
    ) {
        self.role = role
        self.gate = gate
        self.shedding = shedding
        self.snapshot = snapshot
    }

    /// What the process is doing before there is a pipeline, and after.
    func entered(_ phase: String) { self.phase.withLock { $0 = phase } }

    /// The answer of `/readyz`.
    func readiness() -> HTTPResponse {
        var members: [JSONValue.Member] = []
        var trouble: [String] = []
        if role != .ingress {
            let (state, reasons, details) = worker()
            members.append(.init("worker", .string(state)))
            members += details
            if role == .worker {
                trouble += reasons
            } else {
                members.append(.init("worker_trouble", .array(reasons.map { .string($0) })))
            }
        }
        if role != .worker {
            let obstacle = gate?.obstacle
            members.append(.init("ingress", .string(obstacle == nil ? "open" : "closed")))
            if let obstacle { trouble.append(obstacle) }
            if let order = shedding?.order, let cause = order.cause {
                members.append(.init("shedding", Self.shed(order, cause)))
                if order.share >= 1 { trouble.append("every request is refused until the pipe has caught up (\(cause.name))") }
            }
        }
        let phase = self.phase.withLock { $0 }
        if phase == "stopping", role == .worker { trouble.append("the process is stopping") }
        members.insert(.init("status", .string(trouble.isEmpty ? "ready" : "unavailable")), at: 0)
        if !trouble.isEmpty { members.insert(.init("reason", .string(trouble.joined(separator: "; "))), at: 1) }
        return .json(trouble.isEmpty ? 200 : 503, .object(members))
    }

    private static func shed(_ order: SheddingDecision, _ cause: SheddingCause) -> JSONValue {
        [
            "share": .number((order.share * 1_000).rounded() / 1_000), "cause": .string(cause.name),
            "retry_after": .integer(order.retryAfter),
        ]
    }

    /// The partitions of each reason.
    private static func reasons(_ paused: [TopicPartition: String]) -> JSONValue {
        let groups = Dictionary(grouping: paused.keys.sorted()) { paused[$0] ?? "" }.sorted { $0.key < $1.key }
        return .array(
            groups.map { reason, sources in
                ["reason": .string(reason), "partitions": .array(sources.map { .string("\($0)") })]
            })
    }

    private func worker() -> (state: String, trouble: [String], details: [JSONValue.Member]) {
        guard let snapshot = snapshot() else {
            let phase = self.phase.withLock { $0 }
            return (phase, ["the worker is \(phase)"], [])
        }
        var trouble = snapshot.stopped.map { "partition \($0.source) has stopped: \($0.reason)" }
        if snapshot.circuit != .closed { trouble.append("the circuit to PostgreSQL is open") }
        if snapshot.summary != "running" { trouble.append("the worker is \(snapshot.summary)") }
        var details: [JSONValue.Member] = []
        if let stall = snapshot.stall {
            trouble.append("no progress for \(Int(stall.seconds)) s: \(stall.reason.sentence)")
            details.append(.init("stalled", .string(stall.reason.rawValue)))
        }
        // No trouble: it is what somebody asked for.
        let paused = snapshot.pausedByOperator
        if !paused.isEmpty { details.append(.init("paused_by_operator", Self.reasons(paused))) }
        return (snapshot.summary, trouble, details)
    }
}
