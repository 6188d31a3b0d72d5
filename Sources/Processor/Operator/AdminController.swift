// Takes operators' requests at the door, and has them carried out one after the other.

import HTTPServer
import Kafka
import Postgres
import Synchronization
import Telemetry

/// The operator's routes: `POST /admin/pause`, `POST /admin/resume`, `GET /admin/pauses`.
final class AdminController: Sendable {
    /// What is asked for.
    enum Verb: Sendable {
        case pause, resume, list
    }

    private struct Job: Sendable {
        let verb: Verb
        let request: AdminRequest?
        let caller: String
        let exchange: HTTPExchange
    }

    /// Requests that wait at most; each may wait for a database that is away.
    private static let queueLimit = 32

    private let authorizer: RequestAuthorizer
    private let topics: [String]
    private let logger: Logger
    private let jobs: AsyncStream<Job>
    private let queue: AsyncStream<Job>.Continuation
    private let isOpen = Atomic(false)

    /// - Parameter topics: those of the mapping.
    init(authorizer: RequestAuthorizer, topics: [String], logger: Logger) {
        self.authorizer = authorizer
        self.topics = topics
        self.logger = logger
        (jobs, queue) = AsyncStream.makeStream(of: Job.self, bufferingPolicy: .bufferingOldest(Self.queueLimit))
    }

    /// Requests are carried out from now on.
    var isServing: Bool { isOpen.load(ordering: .acquiring) }

    // MARK: On the HTTP server's loop

    /// The header of a request is there.
    func admit(_ head: borrowing HTTPRequestHead, _ verb: Verb) -> HTTPAdmission {
        do throws(Denial) { _ = try authorizer.administer(head) } catch { return .respond(error.response) }
        guard verb != .list else { return .readBody(limit: 0) }
        // A page elsewhere can make a browser post a form here, but not JSON.
        guard head.hasMediaType("application/json") else {
            return .respond(
                .problem(status: 415, title: "Unsupported Media Type", detail: "This route takes application/json."))
        }
        return .readBody(limit: AdminRequest.bodyLimit)
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
            do throws(AdminRequest.Fault) {
                parsed = try AdminRequest(Array(request.body), needsReason: verb == .pause)
            } catch {
                return .problem(status: 400, title: "Bad Request", detail: error.detail)
            }
        }
        if let topic = parsed?.scope.topic, !topics.contains(topic) {
            let known = topics.joined(separator: ", ")
            return Self.notFound("The mapping does not read the topic \(topic); it reads \(known).")
        }
        guard isServing else { return Self.unavailable("The worker has not started yet. Nothing was changed.") }
        switch queue.yield(Job(verb: verb, request: parsed, caller: caller, exchange: exchange)) {
        case .enqueued: return nil
        case .dropped: return Self.unavailable("Too many requests wait for PostgreSQL. Nothing was changed; try again.")
        case .terminated: return HTTPRefusal.stopping.problem
        @unknown default: return HTTPRefusal.unanswered.problem
        }
    }

    // MARK: On a task

    /// Carries requests out until the task is cancelled; those that wait then are refused.
    /// - Parameter partitions: how many partitions a topic has.
    func serve(_ keeper: OperatorPauseSync, partitions: @escaping @Sendable (String) async throws -> Int) async {
        isOpen.store(true, ordering: .releasing)
        // Cancelled, the stream ends behind what lies in it, and every further request is refused at the door.
        for await job in jobs { job.exchange.respond(await answer(job, keeper, partitions)) }
    }

    private func answer(
        _ job: Job, _ keeper: OperatorPauseSync, _ partitions: @Sendable (String) async throws -> Int
    ) async -> HTTPResponse {
        if Task.isCancelled { return HTTPRefusal.stopping.problem }
        do {
            // Going on needs no Kafka: what is stored was checked when it was paused.
            if job.verb == .pause, let scope = job.request?.scope, let topic = scope.topic, let partition = scope.partition {
                let count = try await partitions(topic)
                if partition >= count {
                    return Self.notFound("The topic \(topic) has \(count) partitions, from 0; there is no \(partition).")
                }
            }
            return try await carryOut(job, keeper)
        } catch let error as PostgresError {
            return Self.failed(error, job.verb)
        } catch let error as KafkaError {
            return Self.unavailable("Kafka does not say how many partitions the topic has: \(error). Nothing was done.")
        } catch {
            return HTTPRefusal.unanswered.problem
        }
    }

    private func carryOut(_ job: Job, _ keeper: OperatorPauseSync) async throws -> HTTPResponse {
        let scope = job.request?.scope ?? PauseScope()
        let reason = job.request?.reason ?? ""
        switch job.verb {
        case .list:
            return Self.list(try await keeper.refresh())
        case .pause:
            let paused = try await keeper.pause(scope, reason: reason, by: job.caller)
            logger.info("An operator has paused reading.", ["by": job.caller, "what": "\(scope)", "reason": reason])
            return Self.list(paused)
        case .resume:
            switch try await keeper.resume(scope) {
            case .done(let paused):
                logger.info("An operator has resumed reading.", ["by": job.caller, "what": "\(scope)", "reason": reason])
                return Self.list(paused)
            case .held(let wider):
                let names = wider.map { "\($0.scope)" }.joined(separator: " and ")
                return .problem(
                    status: 409, title: "Conflict",
                    detail:
                        "\(scope) is paused together with more: \(names). Resume that, and pause the rest again. Nothing was done.",
                    extra: [.init("paused", .array(wider.map(\.json)))])
            }
        }
    }

    // MARK: Answers

    private static func list(_ paused: [StoredPause]) -> HTTPResponse {
        .json(200, ["paused": .array(paused.map(\.json))], headers: [("Cache-Control", "no-store")])
    }

    private static func notFound(_ detail: String) -> HTTPResponse { .problem(status: 404, title: "Not Found", detail: detail) }

    private static func unavailable(_ detail: String, mayBePersisted: Bool = false) -> HTTPResponse {
        .problem(
            status: 503, title: "Service Unavailable", detail: detail,
            extra: [.init("possibly_persisted", .bool(mayBePersisted))], headers: [("Retry-After", "1")])
    }

    private static func failed(_ error: PostgresError, _ verb: Verb) -> HTTPResponse {
        guard error.isRetriable || error.isConnectionLost else {
            return .problem(status: 500, title: "Internal Server Error", detail: "\(error). Nothing was done.")
        }
        if verb == .list { return unavailable("\(error).") }
        // The commit may have been on its way.
        return unavailable("\(error). It may or may not have been done; asking again does no harm.", mayBePersisted: true)
    }
}

extension KafkaMetadata {
    /// How many partitions a topic has now.
    func partitions(of topic: String) async throws(KafkaError) -> Int {
        switch try await topics([topic], timeout: .seconds(3))[topic] {
        case .success(let count)?: return count
        case .failure(let error)?: throw error
        case nil: throw KafkaError(.unknownTopic, "Kafka says nothing about the topic \(topic)")
        }
    }
}
