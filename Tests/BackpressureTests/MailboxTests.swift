// Proves that a mailbox keeps order and loses no element and no waiting task, by model and with real tasks.

import Backpressure
import TestSupport
import Testing

@Suite struct MailboxTests {
    @Test func aTakenElementIsReleased() {
        final class Batch: Sendable {}
        let mailbox = Mailbox<Batch> { _ in Credits(records: 1, bytes: 1) }
        weak var first: Batch?
        do {
            let batch = Batch()
            first = batch
            mailbox.send(batch)
        }
        mailbox.send(Batch())
        #expect(first != nil)
        #expect(mailbox.takeIfReady() != nil)
        #expect(first == nil, "its credits return, so its memory must be free")
        #expect(mailbox.level == Credits(records: 1, bytes: 1))
    }

    /// Random sends and takes against a plain list of what is in the mailbox.
    @Test func randomActionsAgreeWithTheModel() {
        var random = SeededRandom(seed: testSeed("mailbox"))
        for _ in 0..<200 {
            let mailbox = Mailbox<Int> { Credits(records: 1, bytes: $0) }
            var held: [Int] = []
            // Beyond 64 elements it moves those that are left to the start.
            let sends = Int.random(in: 3...7, using: &random)
            for _ in 0..<600 {
                if Int.random(in: 0..<10, using: &random) < sends {
                    let element = Int.random(in: 0...25, using: &random)
                    mailbox.send(element)
                    held.append(element)
                } else {
                    #expect(mailbox.takeIfReady() == (held.isEmpty ? nil : held.removeFirst()))
                }
                #expect(mailbox.level == Credits(records: held.count, bytes: held.reduce(0, +)))
            }
        }
    }

    @Test func finishEmptiesFirst() async throws {
        let mailbox = Mailbox<Int>()
        mailbox.send(1)
        mailbox.finish()
        mailbox.send(2)
        #expect(try await mailbox.receive() == 1)
        #expect(try await mailbox.receive() == nil)
    }

    @Test func finishWakesTheReceiver() async throws {
        let mailbox = Mailbox<Int>()
        let receiver = Task { try await mailbox.receive() }
        mailbox.finish()
        #expect(try await receiver.value == nil)
    }

    @Test func manyTasksLoseNothing() async throws {
        let mailbox = Mailbox<(sender: Int, value: Int)> { _ in Credits(records: 1, bytes: 1) }
        let senders = 8
        let each = 2_000
        try await withThrowingTaskGroup(of: Void.self) { group in
            for sender in 0..<senders {
                group.addTask {
                    for value in 0..<each {
                        mailbox.send((sender, value))
                        if value % 100 == 0 { await Task.yield() }
                    }
                }
            }
            group.addTask {
                var next = Array(repeating: 0, count: senders)
                for _ in 0..<senders * each {
                    let element = try #require(try await mailbox.receive())
                    #expect(element.value == next[element.sender], "out of order")
                    next[element.sender] += 1
                }
            }
            try await group.waitForAll()
        }
        #expect(mailbox.level == .zero)
        #expect(mailbox.takeIfReady() == nil)
    }

    @Test func cancelledReceiversReturnAndLeaveNothingBehind() async throws {
        let mailbox = Mailbox<Int>()
        for round in 0..<500 {
            let receiver = Task { try await mailbox.receive() }
            if round % 2 == 0 { await Task.yield() }
            receiver.cancel()
            let result = await receiver.result
            #expect(throws: CancellationError.self) { _ = try result.get() }
        }
        mailbox.send(1)
        let receiver = Task {
            while !Task.isCancelled { await Task.yield() }
            return try await mailbox.receive()
        }
        receiver.cancel()
        let result = await receiver.result
        #expect(throws: CancellationError.self, "a cancelled task takes nothing") { _ = try result.get() }
        #expect(try await mailbox.receive() == 1)
    }

    /// Tasks that send while the receiver is cancelled and the mailbox is finished: each ends, and nothing comes twice.
    @Test(.timeLimit(.minutes(1))) func tasksEndWhenTheMailboxIsFinishedUnderThem() async throws {
        for round in 0..<200 {
            let mailbox = Mailbox<Int>()
            let senders = (0..<6).map { value in Task { mailbox.send(value) } }
            let receiver = Task { try await mailbox.receive() }
            if round % 3 == 0 { receiver.cancel() }
            await Task.yield()
            if round % 2 == 0 { mailbox.finish() }
            for sender in senders { await sender.value }
            var received: [Int] = []
            if case .success(let value?) = await receiver.result { received.append(value) }
            mailbox.finish()
            while let value = try await mailbox.receive() { received.append(value) }
            #expect(Set(received).count == received.count)
            #expect(round % 2 == 0 || received.count == 6)
        }
    }

    @Test func aMutexIsHeldByOneTaskAtATimeAndSurvivesCancellation() async throws {
        let mutex = AsyncMutex()
        let inside = Shared(0)
        let most = Shared(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask {
                    let task = Task {
                        try await mutex.lock()
                        let now = inside.withLock { inside in
                            inside += 1
                            return inside
                        }
                        most.withLock { $0 = max($0, now) }
                        await Task.yield()
                        inside.withLock { $0 -= 1 }
                        mutex.unlock()
                    }
                    if number % 3 == 0 { task.cancel() }
                    _ = await task.result
                }
            }
            try await group.waitForAll()
        }
        #expect(most.current == 1)
        try await mutex.lock()
        mutex.unlock()
    }
}
