// Polls the lag of a consumer group, for a process that has no pipeline of its own.

import Records
import Synchronization

/// The lag of a group, from its committed offsets.
public final class GroupLagMonitor: Sendable {
    /// How often the partitions of the topics are counted, nanoseconds.
    private static let recount: UInt64 = 20_000_000_000

    private let topics: [String]
    private let interval: @Sendable () -> UInt64
    private let clock: any PipelineClock
    private let report: @Sendable (_ failure: String?) -> Void
    private let machine = Mutex(GroupLagMachine())

    /// - Parameters:
    ///   - topics: topics the group reads.
    ///   - interval: nanoseconds between questions; read each time.
    ///   - report: called at the first failure in a row with its reason, and with `nil` when everything is answered again.
    public init(
        topics: [String], interval: @escaping @Sendable () -> UInt64, clock: any PipelineClock,
        report: @escaping @Sendable (_ failure: String?) -> Void
    ) {
        self.topics = topics
        self.interval = interval
        self.clock = clock
        self.report = report
    }

    /// The lag of the group now.
    public func sample() -> GroupLag {
        let window = Swift.max(12_000_000_000, 4 * interval())
        // The clock is read under the lock: no sample is older than the one before.
        return machine.withLock { $0.sampled(now: clock.now, window: window) }
    }

    /// Polls until cancelled. After a failure the last answers stay while their age grows.
    public func run(_ reader: any GroupOffsetReader) async throws {
        var sources = PartialAnswer<[TopicPartition]>([])
        var counted: UInt64?
        var hasFailed = false
        while true {
            var failure: String?
            do {
                let now = clock.now
                if counted.map({ now - $0 >= Self.recount }) ?? true {
                    sources = try await reader.partitions(of: topics)
                    // Until every topic is counted, they are counted each time.
                    counted = sources.failure == nil ? now : nil
                }
                machine.withLock { $0.asked(sources.value, now: clock.now) }
                let answer = try await reader.offsets(of: sources.value)
                machine.withLock { $0.answered(answer.value, now: clock.now) }
                failure = answer.failure ?? sources.failure
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                failure = "\(error)"
            }
            if (failure != nil) != hasFailed { report(failure) }
            hasFailed = failure != nil
            try await clock.sleep(until: clock.now + interval())
        }
    }
}
