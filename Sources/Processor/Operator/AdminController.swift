// Owns the operator's routes: takes requests on the HTTP server's loop, and carries them out one after the other.

import Decode
import HTTPServer
import Kafka
import Pipeline
import Platform
import Postgres
import Records
import SluiceTables
import Synchronization
import Telemetry

/// What came of a retry: the partitions that are claimed again, and whether this worker has any of the scope.
typealias RetriedPartitions = (stopped: [PipelineSnapshot.Stopped], isAssigned: Bool)

/// The operator's routes: `POST /admin/pause`, `/admin/resume`, `/admin/retry`, and `GET /admin/pauses`.
final class AdminController: Sendable {
    enum Verb: Sendable {
        case pause, resume, retry, list
    }

    private struct Job: Sendable {
        let verb: Verb
        let request: AdminRequest?
        let caller: String
        /// The address that the request came from.
        let peer: String
        let exchange: HTTPExchange
    }

    /// Most requests that wait to be carried out: while PostgreSQL is unreachable, each takes until its time-out.
    private static let queueLimit = 32

    private let authorizer: RequestAuthorizer
    private let topics: [String]
    private let routes: TopicRoutes
    private let logger: Logger
    private let jobs: AsyncStream<Job>
    private let queue: AsyncStream<Job>.Continuation
    private let isRunning = Atomic(false)
    /// Requests without the right are logged, up to five a second.
    private let denials = Mutex(LogRateLimit(limit: 5))

    /// - Parameter topics: the mappings', expressions among them.
    init(authorizer: RequestAuthorizer, topics: [String], logger: Logger) {
        routes = TopicRoutes([topics])
        self.authorizer = authorizer
        self.topics = topics
        self.logger = logger
        (jobs, queue) = AsyncStream.makeStream(of: Job.self, bufferingPolicy: .bufferingOldest(Self.queueLimit))
    }

    /// Requests are carried out from now on.
    var isServing: Bool { isRunning.load(ordering: .acquiring) }

    // MARK: On the HTTP server's loop

    /// The header of a request has arrived.
    func admit(_ head: borrowing HTTPRequestHead, _ verb: Verb) -> HTTPAdmission {
        do throws(Denial) {
            _ = try authorizer.administer(head)
        } catch {
            log(error, head)
            return .respond(error.response)
        }
        guard verb != .list else { return .readBody(limit: 0) }
        // A web page of another host can make a browser post a form, but not JSON.
        guard head.hasMediaType("application/json") else {
            return .respond(ProblemDetails(status: 415, detail: "This route takes application/json.").response)
        }
        return .readBody(limit: AdminRequest.bodyLimit)
    }

    private func log(_ denial: Denial, _ head: borrowing HTTPRequestHead) {
        let reason: String
        switch denial {
        case .adminTokenMissing: reason = "no token"
        case .adminTokenUnknown: reason = "wrong token"
        case .adminNotLocal: reason = "not a local request"
        default: return
        }
        guard let dropped = denials.withLock({ $0.messageLogged(now: MonotonicClock.nanoseconds()) }) else { return }
        logger.warning(
            "A request to /admin was refused.", ["peer": head.remoteAddress, "reason": reason, "not_logged_before": dropped])
    }

    /// The whole request has arrived. It is answered now, or once it is carried out.
    func handle(_ request: borrowing HTTPRequest, _ verb: Verb, _ exchange: HTTPExchange) {
        if let refusal = enqueue(request, verb, exchange) { exchange.respond(refusal) }
    }

    /// - Returns: the answer where the request is refused; `nil`: it waits to be carried out.
    private func enqueue(_ request: borrowing HTTPRequest, _ verb: Verb, _ exchange: HTTPExchange) -> HTTPResponse? {
        let caller: String
        do throws(Denial) { caller = try authorizer.administer(request.head) } catch { return error.response }
        var parsed: AdminRequest?
        if verb != .list {
            do throws(ProblemDetails) {
                parsed = try AdminRequest(Array(request.body), needsReason: verb == .pause)
            } catch {
                return error.response
            }
        }
        if let topic = parsed?.scope.topic, routes.mapping(of: topic) == nil {
            let known = topics.joined(separator: ", ")
            return Self.notFound("No mapping reads the topic \(topic); they read \(known).")
        }
        guard isServing else { return Self.unavailable("The worker has not started yet. Nothing was changed.") }
        switch queue.yield(Job(verb: verb, request: parsed, caller: caller, peer: request.head.remoteAddress, exchange: exchange))
        {
        case .enqueued: return nil
        case .dropped: return Self.unavailable("Too many requests wait for PostgreSQL. Nothing was changed; try again.")
        case .terminated: return HTTPRefusal.stopping.response
        @unknown default: return HTTPRefusal.unanswered.response
        }
    }

    // MARK: On a task

    /// Carries out requests until the task is cancelled; requests that still wait are then refused.
    /// - Parameters:
    ///   - pauses: those of the present worker.
    ///   - retry: claims the stopped partitions of a scope again.
    ///   - partitions: the number of a topic's partitions.
    func run(
        pauses: @escaping @Sendable () -> OperatorPauseSync, retry: @escaping @Sendable (PauseScope) -> RetriedPartitions,
        partitions: @escaping @Sendable (String) async throws -> Int
    ) async {
        isRunning.store(true, ordering: .releasing)
        // When the task is cancelled, the stream ends after the waiting requests, and `yield` reports that it is terminated.
        for await job in jobs { job.exchange.respond(await answer(job, pauses(), retry, partitions)) }
    }

    private func answer(
        _ job: Job, _ pauses: OperatorPauseSync, _ retry: @Sendable (PauseScope) -> RetriedPartitions,
        _ partitions: @Sendable (String) async throws -> Int
    ) async -> HTTPResponse {
        if Task.isCancelled { return HTTPRefusal.stopping.response }
        do {
            // Resuming needs no check with Kafka: the partition existed when it was paused.
            if job.verb == .pause, let scope = job.request?.scope, let topic = scope.topic, let partition = scope.partition {
                let count = try await partitions(topic)
                if partition >= count {
                    return Self.notFound("The topic \(topic) has \(count) partitions, from 0; there is no \(partition).")
                }
            }
            return try await carryOut(job, pauses, retry)
        } catch let error as PostgresError {
            return Self.failed(error, job.verb)
        } catch let error as KafkaError {
            return Self.unavailable("Kafka did not return the number of partitions: \(error). Nothing was changed; try again.")
        } catch {
            return HTTPRefusal.unanswered.response
        }
    }

    private func carryOut(
        _ job: Job, _ pauses: OperatorPauseSync, _ retry: @Sendable (PauseScope) -> RetriedPartitions
    ) async throws -> HTTPResponse {
        let scope = job.request?.scope ?? PauseScope()
        let reason = job.request?.reason ?? ""
        switch job.verb {
        case .list:
            return Self.list(try await pauses.refresh())
        case .pause:
            let (paused, isChanged) = try await pauses.pause(scope, reason: reason, by: job.caller)
            guard isChanged else { return Self.list(paused, unchanged: "\(scope) is paused already, for the same reason.") }
            logger.info("Paused by an operator.", ["by": job.caller, "peer": job.peer, "scope": "\(scope)", "reason": reason])
            return Self.list(paused)
        case .retry:
            let (stopped, isAssigned) = retry(scope)
            guard !stopped.isEmpty else {
                let detail =
                    isAssigned
                    ? "No partition of this worker in \(scope) is stopped; /readyz of a worker names those that are. "
                    : "This worker has no partition of \(scope); ask the one whose /readyz names it. "
                return ProblemDetails(status: 409, detail: detail + "Nothing was changed.").response
            }
            logger.info(
                "Retried by an operator.",
                [
                    "by": job.caller, "peer": job.peer, "partitions": stopped.map { "\($0.source)" }.joined(separator: ", "),
                    "reason": reason,
                ])
            return .json(200, ["retried": .array(stopped.map(\.json))], headers: [("Cache-Control", "no-store")])
        case .resume:
            switch try await pauses.resume(scope) {
            case .done(let paused, isChanged: false): return Self.list(paused, unchanged: "\(scope) was not paused.")
            case .done(let paused, isChanged: true):
                logger.info(
                    "Resumed by an operator.", ["by": job.caller, "peer": job.peer, "scope": "\(scope)", "reason": reason])
                return Self.list(paused)
            case .coveredBy(let wider):
                let names = wider.map { "\($0.scope)" }.joined(separator: " and ")
                return ProblemDetails(
                    status: 409,
                    detail:
                        "\(scope) is part of a wider pause: \(names). Resume that, and pause the rest again. Nothing was changed.",
                    members: [.init("paused", .array(wider.map(\.json)))]
                ).response
            }
        }
    }

    // MARK: Answers

    /// - Parameter unchanged: why the request has changed nothing; `nil`: it has, or was not to.
    private static func list(_ paused: [StoredPause], unchanged: String? = nil) -> HTTPResponse {
        var members: [JSONValue.Member] = [.init("paused", .array(paused.map(\.json)))]
        if let unchanged { members.append(.init("unchanged", .string(unchanged + " Nothing was changed."))) }
        return .json(200, .object(members), headers: [("Cache-Control", "no-store")])
    }

    private static func notFound(_ detail: String) -> HTTPResponse { ProblemDetails(status: 404, detail: detail).response }

    private static func unavailable(_ detail: String, possiblyPersisted: Bool = false) -> HTTPResponse {
        ProblemDetails.unavailable(detail, possiblyPersisted: possiblyPersisted).response
    }

    private static func failed(_ error: PostgresError, _ verb: Verb) -> HTTPResponse {
        guard error.isRetriable || error.isConnectionLost else {
            return ProblemDetails(status: 500, detail: "\(error). Nothing was changed.").response
        }
        if verb == .list { return unavailable("\(error).") }
        return unavailable(
            "\(error). It may or may not have been carried out; repeating the request is safe.", possiblyPersisted: true)
    }
}

extension StoredPause {
    /// As the pipeline takes it.
    var operatorPause: OperatorPause { OperatorPause(topic: scope.topic, partition: scope.partition, reason: reason) }

    /// As `GET /admin/pauses` shows it.
    var json: JSONValue {
        [
            "topic": scope.topic.map(JSONValue.string) ?? nil,
            "partition": scope.partition.map { .integer(Int($0)) } ?? nil,
            "reason": .string(reason), "paused_by": .string(pausedBy), "paused_at": .string(pausedAt),
        ]
    }
}

extension PipelineSnapshot.Stopped {
    /// As `/admin/retry` shows it.
    var json: JSONValue {
        [
            "topic": .string(source.topic), "partition": .integer(Int(source.partition)), "reason": .string(reason.kind.rawValue),
            "message": .string(reason.description),
        ]
    }
}
