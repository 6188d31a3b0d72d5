// Produces the load to a topic with one idempotent producer, which keeps the order of each key's events.

import Glibc
import Kafka
import Platform
import Synchronization

/// The Kafka side of a run. ``run(_:iteration:)`` keeps its thread for the whole run.
final class KafkaLoad {
    private let plan: EventPlan
    private let ledger: RunLedger
    private let producer: KafkaProducer
    private let topic: ProducerTopic
    private var writer: EventWriter
    private var pending: (event: PlannedEvent, dueAt: UInt64)?

    private init(_ plan: EventPlan, _ ledger: RunLedger, _ producer: KafkaProducer, _ topic: ProducerTopic) {
        self.plan = plan
        self.ledger = ledger
        self.producer = producer
        self.topic = topic
        writer = EventWriter(plan)
    }

    /// Connects and checks that the topic exists.
    static func start(_ options: Options, ledger: RunLedger) async throws(LoadError) -> KafkaLoad {
        let plan = options.plan
        var properties = options.properties
        // A setting of its own in the Kafka module.
        let timeout = properties.removeValue(forKey: "message.timeout.ms").flatMap(Int64.init)
        var configuration = KafkaProducerConfiguration(
            client: KafkaClientConfiguration(
                bootstrapServers: options.brokers, clientID: "sluice-loadtest", properties: properties))
        if let timeout { configuration.messageTimeout = .milliseconds(timeout) }
        configuration.linger = .microseconds(Int64(options.linger * 1000))
        configuration.inFlightRecords = 200_000
        configuration.inFlightBytes = 128 << 20
        do {
            let producer = try KafkaProducer.start(configuration, handler: DeliveryRecorder(plan, ledger))
            let (topic, _) = try await producer.prepare(options.topic, within: .seconds(10))
            return KafkaLoad(plan, ledger, producer, topic)
        } catch {
            throw LoadError(.kafka, "--brokers \(options.brokers), --topic \(options.topic): \(error)")
        }
    }

    /// Sends what the schedule says until it ends. Reports may still be on their way afterwards: see ``finish()``.
    /// - Parameter iteration: called in every iteration of the loop, with the time and the number of events issued.
    func run(
        _ schedule: inout ScheduleMachine, iteration: (_ now: UInt64, _ issued: UInt64) throws(LoadError) -> LoadRound
    ) throws(LoadError) {
        while true {
            let now = MonotonicClock.nanoseconds()
            // The rate is higher than what can be sent: the duration is kept, and the rest counts as dropped.
            if schedule.isOverdue(at: now) {
                let rest = schedule.gaveUp(at: now)
                ledger.state.withLock { $0.counts.dropped += rest }
                return
            }
            switch try iteration(now, schedule.issued) {
            case .end: return
            case .wait:
                pause(until: nil)
                continue
            case .sendAgain(let since): schedule.backlogWaited(from: since, to: now)
            case .send: break
            }
            guard sendPending() else {
                pause(until: nil)
                continue
            }
            if schedule.isFinished(at: now) { return }
            // An iteration sends at most this many, so that a late one does not hold up the progress line or the look at the backlog.
            var due = min(schedule.due(at: now), 1024)
            if due == 0 { pause(until: schedule.nextDue()) }
            while due > 0 {
                let (index, dueAt) = schedule.issue(at: now)
                pending = (plan.event(index), dueAt)
                guard sendPending() else { break }
                due -= 1
            }
        }
    }

    /// Waits for the last delivery reports and ends the producer. An issued event for which its queue has no room has failed.
    nonisolated(nonsending) func finish() async {
        if let pending {
            ledger.state.withLock { $0.settle(pending.event, .failed) }
            self.pending = nil
        }
        // The time-out of a record is shorter, so everything is reported when this returns.
        if await !producer.close(deadline: .seconds(20)) {
            ledger.state.withLock { $0.errors.add("the producer did not end within 20 s") }
        }
    }

    /// Produces the pending event. `false`: the producer's queue is full.
    @inline(__always)
    private func sendPending() -> Bool {
        guard let (event, dueAt) = pending else { return true }
        let token = DeliveryToken(index: event.index, dueAt: dueAt)
        if let error = producer.produce(topic, key: writer.key(event), value: writer.json(event), token: token.packed) {
            if error.code == .queueFull { return false }
            ledger.state.withLock { state in
                state.settle(event, .failed)
                state.errors.add("\(error)")
            }
        }
        pending = nil
        return true
    }

    /// Sleeps until a time, at most a millisecond.
    private func pause(until time: UInt64?) {
        let now = MonotonicClock.nanoseconds()
        let rest = time.map { $0 > now ? min($0 - now, 1_000_000) : 0 } ?? 1_000_000
        usleep(UInt32(rest / 1000))
    }
}

/// Writes delivery reports into the ledger, on the producer's report thread.
private struct DeliveryRecorder: DeliveryHandler {
    private let plan: EventPlan
    private let ledger: RunLedger

    init(_ plan: EventPlan, _ ledger: RunLedger) {
        self.plan = plan
        self.ledger = ledger
    }

    func delivered(_ token: UInt, partition: Int32, offset: Int64, error: KafkaError?) {
        let token = DeliveryToken(packed: token)
        // Computing the event again is cheaper than storing all events in flight.
        let event = plan.event(token.index)
        let age = token.age(at: MonotonicClock.nanoseconds())
        ledger.state.withLock { state in
            if let error {
                state.settle(event, error.mayBePersisted ? .unknown : .failed)
                state.errors.add("\(error)")
            } else {
                state.settle(event, .acknowledged(Coordinate(partition: partition, offset: offset)))
                state.latencies.add(nanoseconds: age)
            }
        }
    }
}
