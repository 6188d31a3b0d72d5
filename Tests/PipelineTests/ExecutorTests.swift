// Proves that stages run on the executors of their ports: on the reader's thread and on the lane's.

import Records
import TestSupport
import Testing

@testable import Pipeline

/// Passes jobs on to Swift's threads; a task that prefers it can tell.
private final class Marked: TaskExecutor {
    func enqueue(_ job: consuming ExecutorJob) { globalConcurrentExecutor.enqueue(job) }

    /// The current task prefers this executor.
    var isCurrent: Bool { withUnsafeCurrentTask { $0?.unownedTaskExecutor } == asUnownedTaskExecutor() }
}

@Suite(.timeLimit(.minutes(1))) struct ExecutorTests {
    @Test func stagesRunOnTheExecutorsOfTheirPorts() async throws {
        let (reader, lane) = (Marked(), Marked())
        let seen = Shared((decoding: Set<Bool>(), writing: Set<Bool>()))
        let world = World(
            seed: 30, partitions: 4, records: 500, configuration: brisk(),
            executors: Executors(
                source: reader, lane: lane, decoding: { seen.withLock { _ = $0.decoding.insert(reader.isCurrent) } }),
            plan: { _, _ in
                seen.withLock { _ = $0.writing.insert(lane.isCurrent) }
                return nil
            })
        try await world.run { world in
            world.source.post(.assigned(Array(world.ends.keys)))
            #expect(await eventually { world.isComplete })
        }
        #expect(world.isExact)
        #expect(seen.current.decoding == [true])
        #expect(seen.current.writing == [true])
    }
}
